"""A profile: what makes an assistant of a model. Read from a YAML file of at most 64 KiB."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MAX_FILE_BYTES = 64 * 1024
MAX_PROFILES = 100
"""In one folder."""

JOIN = r"^[A-Za-z0-9_]{1,63}\.[A-Za-z0-9_]{1,63} = [A-Za-z0-9_]{1,63}\.[A-Za-z0-9_]{1,63}$"
"""Two columns that hold tables together."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)]


class ProfileError(ValueError):
    """A profile that cannot be used; the message says which, where and why."""


class AssistantKind(StrEnum):
    """Whose rules an assistant follows."""

    CHAT = "chat"  # the prompt alone
    SUPPORT = "support"
    CONTENT = "content"
    CODE = "code"
    DATA = "data"


class SupportRules(BaseModel):
    """When a customer's question is answered, asked back, refused or handed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    products: dict[str, Words] = Field(default_factory=dict, max_length=100)
    """Family of products → its members, each by a distinctive part of its name. A question that names the family and none of its
    members is asked back."""
    handover_words: Words = Field(default_factory=list)
    """Phrases by which a customer asks for a person."""
    angry_words: Words = Field(default_factory=list)
    unsupported_before_handover: Annotated[int, Field(ge=1, le=10)] = 2
    """Questions in a row without a passage, after which a person is called."""
    texts: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Language (`en`, `de`) → `which`, `unknown`, `handover` → what is said. `{options}` stands for the products."""


class WarehouseRules(BaseModel):
    """The tables that are asked, and who may read which."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    database: str = ""
    """A SQLite file, `duckdb:///PATH`, or the URL of a PostgreSQL. "": the example's, made in the state folder."""
    db_schema: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "public"
    """Of PostgreSQL: the one whose tables are asked."""
    tables: list[str] = Field(default_factory=list, max_length=200)
    """That may be read; none: all but those that are restricted."""
    restricted: dict[str, list[str]] = Field(default_factory=dict, max_length=200)
    """Table, or `table.column` → the groups, one of which the caller's key must have."""
    joins: list[Annotated[str, Field(pattern=JOIN)]] = Field(default_factory=list, max_length=500)
    """`a.b = c.d`: how tables belong together that no foreign key joins."""
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 50
    deadline_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    repairs: Annotated[int, Field(ge=0, le=2)] = 2
    max_tables: Annotated[int, Field(ge=1, le=12)] = 6
    """Told to the model: those that the question's words speak for."""
    words: bool = False
    """Whether the model words the result, too. Without: the gateway does, in one sentence."""


class Writing(BaseModel):
    """How texts are worked on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    glossary: dict[str, str] = Field(default_factory=dict, max_length=500)
    """Term → what stands for it in a translation; kept to the letter."""
    piece_chars: Annotated[int, Field(ge=200, le=20_000)] = 1500
    """Of one piece of a long text."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    """Pieces that are worked on at a time, behind everybody else's requests."""
    max_pieces: Annotated[int, Field(ge=1, le=5000)] = 1000


class Profile(BaseModel):
    """One assistant."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    description: Annotated[str, Field(max_length=500)] = ""
    kind: AssistantKind = AssistantKind.CHAT
    model: Annotated[str, Field(max_length=256)] = ""
    """Of the fleet; "": its first."""
    system: Annotated[str, Field(max_length=20_000)] = ""
    knowledge: bool = False
    """Whether it answers from stores."""
    stores: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(default_factory=list, max_length=100)
    """By name or id; none: all of the tenant's."""
    without: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(default_factory=list, max_length=100)
    """Names of stores that it does not answer from where it answers from all."""
    top_k: Annotated[int, Field(ge=1, le=50)] | None = None
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """As a search has it; None: as the deployment has it."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 512
    max_input_chars: Annotated[int, Field(ge=100, le=4_000_000)] = 40_000
    """Of a conversation; a longer one is refused."""
    example: Annotated[str, Field(max_length=1000)] = ""
    """A question to try it with."""
    support: SupportRules = SupportRules()
    warehouse: WarehouseRules = WarehouseRules()
    writing: Writing = Writing()

    @field_validator("model")
    @classmethod
    def _of_the_fleet(cls, model: str) -> str:
        if model.startswith("assistant:"):
            raise ValueError("an assistant stands on a model of the fleet, not on another assistant")
        return model


def read_profile(path: Path) -> Profile:
    """Raises ProfileError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ProfileError(f"{path}: a profile has at most {MAX_FILE_BYTES} bytes.")
        given = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(given, Mapping):
            raise ProfileError(f"{path}: a profile is a mapping of names to values.")
        profile = Profile.model_validate({"name": path.stem, **given})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{path}: {where}: {first['msg']}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"{path}: {error}") from None
    if profile.name != path.stem:
        raise ProfileError(f"{path}: its name is {profile.name}; it must be the file's.")
    return profile


def read_folder(folder: Path) -> dict[str, Profile]:
    """The profiles of a folder by name. Raises ProfileError."""
    paths = sorted(folder.glob("*.yaml"))
    if len(paths) > MAX_PROFILES:
        raise ProfileError(f"{folder}: there are more than {MAX_PROFILES} profiles.")
    return {path.stem: read_profile(path) for path in paths}


def shipped() -> dict[str, Profile]:
    """The four that come with the package; they are read once."""
    return dict(_shipped())


@cache
def _shipped() -> Mapping[str, Profile]:
    return read_folder(Path(__file__).parent)
