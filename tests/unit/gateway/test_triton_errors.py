"""What models and Triton say, as causes; what the wire says, as HTTP."""

import pytest

from gateway import errors
from gateway.triton.errors import Cause, InstanceError, RequestRefused, from_model


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("llm: bad request: too long", "bad request", "too long"),
        ("in ensemble 'rag', llm: bad request: too long", "bad request", "too long"),
        ("prompt: too long: 9 tokens", "too long", "9 tokens"),
        ("prompt: bad messages: empty", "bad messages", "empty"),
        ("in ensemble 'context', retrieval: unavailable: Milvus is away", "retrieval unavailable", "Milvus is away"),
        ("retrieval: not found: x", "not found", "x"),
    ],
)
def test_refusals_are_the_requests(text: str, kind: str, reason: str) -> None:
    error = from_model(text)
    assert isinstance(error, RequestRefused)
    assert (error.kind, error.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("llm: queue full: 8 wait", Cause.BUSY),
        ("[request id: 1] Exceeds maximum queue size", Cause.BUSY),
        ("in ensemble 'context', [request id: 1] Request timeout expired", Cause.BUSY),
        ("CUDA out of memory", Cause.ENGINE),
        ("", Cause.ENGINE),
    ],
)
def test_everything_else_is_the_instances(text: str, cause: Cause) -> None:
    error = from_model(text)
    assert isinstance(error, InstanceError)
    assert error.cause is cause


def test_which_causes_cast_doubt_on_an_instance() -> None:
    innocent = {cause for cause in Cause if not InstanceError(cause, "").blames_instance}
    assert innocent == {Cause.BUSY, Cause.DRAIN, Cause.QUEUED, Cause.STALE}


@pytest.mark.parametrize("kind", errors.HTTP)
def test_every_error_has_a_face_and_a_body(kind: type[errors.RagfleetError]) -> None:
    face = errors.face(kind("words"))
    assert 400 <= face.status < 600
    body = errors.body(kind("words", param="p"))["error"]
    assert body == {"message": "words", "type": face.type, "param": "p", "code": face.code}


def test_error_can_carry_its_own_status_and_code() -> None:
    face = errors.face(errors.Overloaded("x", status=503, code="draining"))
    assert (face.status, face.code, face.type) == (503, "draining", "server_error")


@pytest.mark.parametrize(("seconds", "headers"), [(2.6, (b"3", b"2600")), (0.01, (b"1", b"10"))])
def test_retry_after_in_seconds_and_milliseconds(seconds: float, headers: tuple[bytes, bytes]) -> None:
    wire = dict(errors.headers(errors.Unavailable("x", retry_after_s=seconds)))
    assert (wire[b"retry-after"], wire[b"retry-after-ms"]) == headers
    assert errors.headers(errors.Unavailable("x")) == []
