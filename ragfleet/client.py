"""OpenAI's own client on the gateway, with errors in the gateway's words."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import openai

P = ParamSpec("P")
T = TypeVar("T")

DEADLINE_SECONDS = 120.0
PAGE = 100


class GatewayError(Exception):
    """The gateway refused something, or does not answer; the text says which."""


def connect(gateway_url: str, key: str) -> openai.OpenAI:
    """A client that tries again where that can help. Close it."""
    past_proxies = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(
        base_url=f"{gateway_url}/v1", api_key=key, timeout=DEADLINE_SECONDS, max_retries=4, http_client=past_proxies
    )


def told(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result. Raises GatewayError."""
    try:
        return call(*args, **kwargs)
    except openai.APIStatusError as error:
        body = error.body
        text = body.get("message") if isinstance(body, dict) else None
        raise GatewayError(str(text or error.message)) from error
    except openai.APIError as error:
        raise GatewayError(f"the gateway does not answer: {error.message}. See: ragfleet status") from error


def store_named(client: openai.OpenAI, name: str) -> str:
    """The id of the oldest store of this name that has not expired; it is made where there is none."""
    stores = client.vector_stores.list(limit=PAGE, order="asc")
    same = [store.id for store in stores if store.name == name and store.status != "expired"]
    return same[0] if same else client.vector_stores.create(name=name).id


def forget(client: openai.OpenAI, file_id: str) -> None:
    """Delete a file, wherever it is; one that is gone already is fine. Raises GatewayError."""
    try:
        told(client.files.delete, file_id)
    except GatewayError as error:
        if not isinstance(error.__cause__, openai.NotFoundError):
            raise
