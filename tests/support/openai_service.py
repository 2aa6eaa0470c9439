"""What the OpenAI contract runs against, and the client as users make it."""

from dataclasses import dataclass

from openai import AsyncOpenAI

KEY = "secret"


@dataclass(frozen=True)
class Service:
    """A gateway with something behind it."""

    client: AsyncOpenAI
    url: str
    key: str
    model: str
    rag: str
    """A model that answers from knowledge; "" where there is none."""

    def other(self, key: str) -> AsyncOpenAI:
        """A client with another key."""
        return client_of(self.url, key)


def client_of(url: str, key: str = KEY) -> AsyncOpenAI:
    """The official client without its retries."""
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)
