"""`ragfleet settings` lists what is read, all of it, and docs/settings.md is what it lists."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragfleet.cli import application
from ragfleet.paths import PROJECT
from ragfleet.settings import all_settings, markdown

OURS = re.compile(r"[\"'](RAGFLEET_[A-Z_]+|MILVUS_[A-Z]+)[\"']")
NOT_SETTINGS = {"RAGFLEET_PART"}
"""A mark by which `ragfleet down` finds its processes."""


def named(*folders: str) -> set[str]:
    """The variables that sources name, as texts of their own."""
    files = [file for folder in folders for file in (PROJECT / folder).rglob("*.py")]
    return {name for file in files for name in OURS.findall(file.read_text("utf-8"))} - NOT_SETTINGS


def test_every_variable_that_is_read_is_listed_with_its_meaning() -> None:
    settings = all_settings()
    assert not [each.name for each in settings if not each.meaning]
    by_part: dict[str, set[str]] = {}
    for each in settings:
        by_part.setdefault(each.part, set()).update(each.name.split(", "))
    assert named("model_repository") == by_part["models"]
    everything = set().union(*by_part.values())
    assert named("gateway", "worker", "ragfleet") <= everything


def test_times_and_sizes_have_a_unit() -> None:
    units = {each.name: (each.default, each.unit) for each in all_settings()}
    assert units["RAGFLEET_TOKEN_DEADLINE_S"] == ("10.0", "s")
    assert units["RAGFLEET_CONVERT_MEMORY_MB"] == ("1536", "MiB")
    assert units["RAGFLEET_MAX_BODY_BYTES"][1] == "bytes"


def test_the_page_is_what_the_command_lists() -> None:
    page = (PROJECT / "docs" / "settings.md").read_text("utf-8")
    assert page == markdown(), "run: python -m ragfleet.settings > docs/settings.md"


def test_the_command_tells_what_is_set_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGFLEET_API_KEY", "sk-very-secret")
    monkeypatch.setenv("RAGFLEET_POLICY", "round_robin")
    shown = CliRunner().invoke(application(), ["settings", "--json"])
    values = {each["name"]: each["value"] for each in json.loads(shown.stdout)}
    assert (values["RAGFLEET_API_KEY"], values["RAGFLEET_POLICY"]) == ("(set)", "round_robin")
    plain = CliRunner().invoke(application(), ["settings"])
    assert "now: round_robin" in plain.stdout
    assert "sk-very-secret" not in shown.stdout + plain.stdout
