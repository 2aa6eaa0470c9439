"""Parameters that say nothing of the answer: whose request it is, how long its prompt is cached, how soon it is wanted."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TIER = "default"
"""The `service_tier` of every answer, whichever was asked for: it names the one that was used, and here there is one."""


class PromptCacheOptions(BaseModel):
    """How prompts are cached. Here they are wherever they begin alike."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class PromptCacheBreakpoint(BaseModel):
    """Where a client wants a prompt cached; the same goes for it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Literal["explicit"]


class Cacheable(BaseModel):
    """A part of a message."""

    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class NamedUser(BaseModel):
    """Who asks, among the users of the tenant."""

    user: str | None = None


class Bookkeeping(NamedUser):
    """All of them."""

    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
