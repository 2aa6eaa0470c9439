"""`ragfleet tenant`, `key` and `audit`, on a catalog in an empty state folder."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.tenants.limits import TenantLimits
from ragfleet.cli import application
from ragfleet.console import Exit

runner = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path))
    monkeypatch.delenv("RAGFLEET_CATALOG_URL", raising=False)
    return tmp_path


def run(line: str) -> Result:
    return runner.invoke(application(), line.split())


def ask(line: str) -> Any:
    """What a good command printed."""
    result = run(f"{line} --json")
    assert result.exit_code == Exit.DONE, result.output
    return json.loads(result.stdout)


def test_tenants_come_and_change() -> None:
    made = ask("tenant create acme --requests-per-minute 10 --tokens-per-day 5 --weight 2")
    assert (made["name"], made["weight"]) == ("acme", 2.0)
    assert made["limits"] == {"requests_per_minute": 10, "tokens_per_day": 5}
    changed = ask("tenant set acme --requests-per-minute none --class gold --priority -1")
    assert (changed["limits"], changed["class"], changed["priority"]) == ({"tokens_per_day": 5}, "gold", -1)
    assert ask("tenant suspend acme")["suspended"] is True
    assert ask("tenant resume acme")["suspended"] is False
    assert ask("tenant list") == [ask("tenant show acme")]


@pytest.mark.parametrize("command", ["tenant create b{}", "tenant set acme", "key create --tenant acme"])
def test_each_limit_has_an_option(command: str) -> None:
    ask("tenant create acme")
    for number, name in enumerate(TenantLimits.__slots__):
        limited = ask(f"{command.format(number)} --{name.replace('_', '-')} {number}")
        assert limited["limits"][name] == number


def test_key_is_printed_once_and_stored_nowhere(home: Path) -> None:
    ask("tenant create acme")
    made = ask("key create --tenant acme --scopes chat,knowledge:read --groups a,b --expires 30d")
    assert made["key"].startswith(f"sk-rf-{made['id']}-")
    assert (made["scopes"], made["groups"]) == (["chat", "knowledge:read"], ["a", "b"])
    assert abs(made["expires_at"] - time.time() - 30 * 86_400) < 120
    rotated = ask(f"key rotate {made['id']} --overlap 1h")
    assert rotated["id"] == made["id"]
    assert abs(rotated["previous_secret_until"] - time.time() - 3600) < 120
    assert ask(f"key revoke {made['id']}")["status"] == "revoked"
    (listed,) = ask("key list --tenant acme")
    assert listed["status"] == "revoked"
    assert "key" not in listed
    secrets = [each["key"].rpartition("-")[2].encode() for each in (made, rotated)]
    for file in home.rglob("*"):
        if file.is_file():
            assert not any(secret in file.read_bytes() for secret in secrets), file
    acts = [each["act"] for each in ask("audit")]
    assert acts == ["key.revoke", "key.rotate", "key.create", "tenant.create"]
    assert all(each["actor"].startswith("cli:") for each in ask("audit"))


def test_plain_output_is_for_people() -> None:
    assert "acme" in run("tenant create acme --documents 3").stdout
    assert run("key create --tenant acme").stdout.startswith("sk-rf-")
    assert "documents 3" in run("tenant show acme").stdout
    for line in ("tenant list", "key list", "audit"):
        result = run(line)
        assert result.exit_code == Exit.DONE
        assert "acme" in result.stdout


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("tenant create acme", Exit.FAILED, "There is a tenant 'acme' already."),
        ("tenant create a/b", Exit.USAGE, "A tenant's name has letters"),
        ("tenant create b --documents -1", Exit.USAGE, "documents"),
        ("tenant create b --documents many", Exit.USAGE, "neither a whole number"),
        ("tenant create b --weight 0", Exit.USAGE, "weight must be above 0"),
        ("tenant show nobody", Exit.FAILED, "There is no tenant 'nobody'."),
        ("key create --tenant nobody", Exit.FAILED, "There is no tenant 'nobody'."),
        ("key create", Exit.USAGE, "--tenant"),
        ("key create --tenant acme --scopes all", Exit.USAGE, "There is no scope 'all'."),
        ("key create --tenant acme --expires soon", Exit.USAGE, "neither a duration"),
        ("key create --tenant acme --expires 2001-01-01", Exit.USAGE, "in the future"),
        ("key rotate nobodys", Exit.FAILED, "There is no key 'nobodys'."),
        ("key rotate nobodys --overlap long", Exit.USAGE, "no duration"),
        ("key revoke nobodys", Exit.FAILED, "There is no key 'nobodys'."),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(line: str, status: Exit, words: str) -> None:
    ask("tenant create acme")
    result = run(line)
    assert result.exit_code == status, result.output
    assert words in " ".join(result.output.replace("│", "").split())
    assert "Traceback" not in result.output


def test_catalog_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGFLEET_CATALOG_URL", f"postgresql://nobody@/x?host={tmp_path}")
    result = run("tenant list")
    assert result.exit_code == Exit.FAILED
    assert "does not answer" in result.output
