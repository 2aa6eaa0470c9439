"""The Dockerfiles and Compose files as these tests read them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from ragfleet.paths import PROJECT

DOCKER = PROJECT / "docker"
IMAGES = ("gateway", "cpu", "triton")
COMPOSE = ("compose.yaml", "compose.gpu.yaml", "compose.host.yaml")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, continued lines joined, and the number of its stage, from 0."""

    stage: int
    name: str
    words: str


def instructions(image: str) -> list[Instruction]:
    """The instructions in order; those before the first FROM have the stage -1."""
    text = (DOCKER / f"{image}.Dockerfile").read_text("utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = [], -1
    for line in filter(str.strip, text.splitlines()):
        name, _, words = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, words.strip()))
    return found


def last_stage(image: str) -> list[Instruction]:
    """What makes the image that is kept."""
    every = instructions(image)
    return [one for one in every if one.stage == every[-1].stage]


def environment(image: str) -> dict[str, str]:
    """The ENV of the image."""
    pairs = (pair for one in last_stage(image) if one.name == "ENV" for pair in one.words.split())
    return dict(pair.split("=", 1) for pair in pairs)


def copied(image: str) -> Iterator[tuple[int, str]]:
    """Each path of the checkout that is copied, with its stage."""
    for one in instructions(image):
        if one.name == "COPY" and "--from" not in one.words:
            for source in one.words.split()[:-1]:
                yield one.stage, source


def compose(name: str) -> dict[str, Any]:
    """A Compose file, anchors resolved, variables as written."""
    read = yaml.safe_load((DOCKER / name).read_text("utf-8"))
    assert isinstance(read, dict)
    return read


def specification() -> Mapping[str, Any]:
    """The JSON schema of the Compose specification; check-jsonschema carries it."""
    file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    read = json.loads(file.read_text("utf-8"))
    assert isinstance(read, dict)
    return read
