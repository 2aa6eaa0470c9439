"""What the models of a fake Triton answer: a deterministic engine, and faults by script. For tests.

The next id of an answer is a function of all ids before it, so that a continuation on another fake gives what the first
one would have given.
"""

import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

NextId = Callable[[Sequence[int]], int | None]
"""All ids so far → the next one; None where the answer ends."""


DIMENSION = 8


def vector_of(text: str) -> list[float]:
    """What the fakes' `embedding` makes of a text: DIMENSION numbers of its hash, as a vector of length 1."""
    raw = [byte - 127.5 for byte in hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest()]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


def hashed(choices: Sequence[int]) -> NextId:
    """An answer without an end, each id drawn from `choices` by a hash of all ids before it."""

    def next_id(ids: Sequence[int]) -> int:
        digest = hashlib.blake2b(array("i", ids).tobytes(), digest_size=8).digest()
        return choices[int.from_bytes(digest) % len(choices)]

    return next_id


def told(token: int, top: int, choices: Sequence[int]) -> dict[str, Any]:
    """What an engine tells beside a token: a log probability that its id decides, and as many alternatives, itself first."""
    others = [other for other in choices if other != token][: max(0, top - 1)]
    likeliest = [token, *others][:top]
    outputs: dict[str, Any] = {"output_log_probs": log_prob_of(token), "cum_log_probs": 0.0}
    if top == 1:  # Triton writes a tensor of one element as a number
        outputs |= {"top_token_ids": token, "top_log_probs": log_prob_of(token)}
    elif top:
        outputs |= {"top_token_ids": likeliest, "top_log_probs": [log_prob_of(other) for other in likeliest]}
    return outputs


def log_prob_of(token: int) -> float:
    """Of every fake, whatever came before."""
    return -(token % 64) / 8


def saying(words: Sequence[int], *, after: int) -> NextId:
    """The ids of `words` and then the end; `after` is the id that ends every prompt and is not one of them."""

    def next_id(ids: Sequence[int]) -> int | None:
        spoken = list(reversed(ids)).index(after)
        return words[spoken] if spoken < len(words) else None

    return next_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How one call goes. `*_after` counts the ids sent before it happens; a call of another model than `llm` sends none."""

    status: int = 200
    """Another status answers with `error` and nothing else."""
    error: str = ""
    error_after: int | None = None
    """An event `{"error": …}` in a stream that began well."""
    reset_after: int | None = None
    """The connection breaks."""
    kill_after: int | None = None
    """The whole instance dies."""
    stall_after: int | None = None
    """Nothing more comes until `resume()`."""
    per_segment: int = 1
    """Ids that leave in one piece, each in an event of its own."""
    split: bool = False
    """Every event leaves in two pieces."""
    reused_blocks: int | None = None
    """Told with an id: KV blocks of the prompt that were not computed."""
    reuse_told_after: int = 0
    """With the id behind so many: NVIDIA's engine tells it with the last one."""
    raw: bytes | None = None
    """The body to answer with instead; in a stream, the bytes sent before the first event."""


@dataclass(slots=True, eq=False)
class ModelCall:
    """One request that came."""

    model: str
    body: Mapping[str, Any]
    script: Script
    traceparent: str = ""
    sent: int = 0
    """Ids sent so far."""
    end: str = ""
    """"": it runs; `finished`, `refused`, `broken` (by us), `gone` (the client left)."""


@dataclass(slots=True, kw_only=True)
class Answers:
    """What the fake's models do, the same on every fake of a fleet."""

    next_id: NextId
    encode: Callable[[str], Sequence[int]] = lambda text: list(text.encode())
    """Text of a message → ids."""
    prompt_end: Sequence[int] = ()
    """Ids that end every prompt."""
    passages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """What the retrieval finds, best first."""
    holds: Callable[[str, Mapping[str, Any]], bool] = lambda _expression, _passage: True
    """Whether a filter holds for a passage."""
    scripts: dict[str, deque[Script]] = field(default_factory=dict)
    """Scripts by model, for whichever fake is asked next."""

    calls: list[ModelCall] = field(default_factory=list)
    """Every call that came to any of the fakes."""

    def script(self, model: str, *scripts: Script) -> None:
        """The next calls of a model, on whatever fake, go like this, one after the other."""
        self.scripts.setdefault(model, deque()).extend(scripts)

    def infer(self, call: ModelCall) -> tuple[int, dict[str, Any]]:
        """What a model other than `llm` answers: HTTP status and body."""
        answer = {"embedding": self._embedding, "search": self._search}.get(call.model, self._prompt)
        return answer(call)

    def _prompt(self, call: ModelCall) -> tuple[int, dict[str, Any]]:
        inputs = {}
        for tensor in call.body["inputs"]:
            if tensor["shape"] != [1, 1]:
                return 400, {"error": f"unexpected shape for input '{tensor['name']}' for model '{call.model}'"}
            inputs[tensor["name"]] = tensor["data"][0]
        found = self._found(inputs) if call.model == "context" else orjson.loads(inputs.get("passages", "[]"))
        used = [{**passage, "n": n} for n, passage in enumerate(found, 1)]
        texts = [passage["text"] for passage in used] + [m["content"] for m in orjson.loads(inputs["messages"])]
        ids = [i for text in texts for i in self.encode(text)] + list(self.prompt_end)
        if len(ids) > inputs["max_prompt_tokens"]:
            words = f"{len(ids)} tokens, limit {inputs['max_prompt_tokens']}"
            return 400, {"error": f"prompt: too long: {words}"}
        outputs = [
            {"name": "input_ids", "datatype": "INT32", "shape": [1, len(ids)], "data": ids},
            {"name": "used", "datatype": "BYTES", "shape": [1, 1], "data": [orjson.dumps(used).decode()]},
        ]
        return 200, {"id": call.body["id"], "model_name": call.model, "model_version": "1", "outputs": outputs}

    def _found(self, inputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        found = (p for p in self.passages if p["score"] >= inputs["min_score"] and self.holds(inputs["filter"], p))
        return list(islice(found, inputs["top_k"]))

    def _search(self, call: ModelCall) -> tuple[int, dict[str, Any]]:
        inputs = {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}
        found = self._found(inputs)
        output = {"name": "passages", "datatype": "BYTES", "shape": [1, 1], "data": [orjson.dumps(found).decode()]}
        return 200, {"id": call.body["id"], "model_name": "search", "model_version": "1", "outputs": [output]}

    def _embedding(self, call: ModelCall) -> tuple[int, dict[str, Any]]:
        tensor = call.body["inputs"][0]
        count, width = tensor["shape"]
        if (tensor["name"], width) != ("text", 1) or not 1 <= count <= 64:
            return 400, {"error": f"unexpected shape for input '{tensor['name']}' for model 'embedding'"}
        data = [value for text in tensor["data"] for value in vector_of(text)]
        output = {"name": "embedding", "datatype": "FP32", "shape": [count, DIMENSION], "data": data}
        return 200, {"id": call.body["id"], "model_name": "embedding", "model_version": "1", "outputs": [output]}
