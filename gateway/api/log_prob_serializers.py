"""Log probabilities as each path of OpenAI's has them."""

from collections.abc import Sequence
from typing import Any

from gateway.serving.log_probs import SpelledToken, ToldToken

Json = dict[str, Any]


def content_log_probs(told: Sequence[ToldToken]) -> list[Json]:
    """Of a chat's `logprobs.content`, and of a response's `output_text.logprobs`."""
    return [{**_token(each.token), "top_logprobs": [_token(other) for other in each.top]} for each in told]


def chat_log_probs(told: Sequence[ToldToken]) -> Json:
    """A chat's `logprobs`."""
    return {"content": content_log_probs(told), "refusal": None}


def completion_log_probs(told: Sequence[ToldToken], *, offset: int = 0) -> Json:
    """A completion's `logprobs`. offset: characters of the text in front of the answer."""
    return {
        "tokens": [_key(each.token) for each in told],
        "token_logprobs": [each.token.log_prob for each in told],
        "top_logprobs": [{_key(token): token.log_prob for token in (*each.top, each.token)} for each in told],
        "text_offset": [offset + each.start for each in told],
    }


def _token(token: SpelledToken) -> Json:
    return {"token": token.text, "logprob": token.log_prob, "bytes": list(token.data)}


def _key(token: SpelledToken) -> str:
    """The text, or OpenAI's way to spell what is no text."""
    if "\ufffd" not in token.text:
        return token.text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.data)
