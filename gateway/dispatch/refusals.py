"""What an engine refuses, in the names of the API."""

from gateway.errors import BadRequest
from gateway.triton.errors import RequestRefused

# The engine's names for what clients know by others.
_PARAMS = {
    "input_ids": "messages",
    "request_output_len": "max_tokens",
    "runtime_top_k": "top_k",
    "runtime_top_p": "top_p",
    "return_log_probs": "logprobs",
    "num_top_log_probs": "top_logprobs",
    "embedding_bias": "logit_bias",
    "lora_task_id": "model",
}


def bad_request(refused: RequestRefused) -> BadRequest:
    """A refusal begins with the field at fault (docs/contracts.md)."""
    field, colon, _ = refused.reason.partition(":")
    param = _PARAMS.get(field, field) if colon and field.isidentifier() else None
    return BadRequest(f"The model refused the request: {refused.reason}", param=param, code="invalid_value")
