"""Keys and the tenants they belong to."""

from pathlib import Path

import pytest

from gateway.environment import ConfigError
from gateway.errors import Unauthenticated
from gateway.tenants.directory import Directory
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant


def read(tmp_path: Path, text: str, api_key: str = "") -> Directory:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    return Directory.from_settings(api_key, file)


def test_without_any_key_everybody_is_the_default() -> None:
    directory = Directory.from_settings("", None)
    assert directory.authenticate(None).name == "default"
    assert directory.authenticate("Bearer whatever").name == "default"


def test_one_key() -> None:
    directory = Directory.from_settings("secret", None)
    assert directory.authenticate("Bearer secret").name == "default"
    for header in (None, "", "Bearer", "Bearer ", "Bearer other", "Basic secret", "secret"):
        with pytest.raises(Unauthenticated):
            directory.authenticate(header)


def test_tenants_of_a_file(tmp_path: Path) -> None:
    directory = read(
        tmp_path, "tenants:\n- {name: red, keys: [r1, r2], weight: 2.5, priority: -1}\n- {name: blue, keys: [b]}"
    )
    red = Tenant("red", weight=2.5, priority=-1)
    assert directory.authenticate("Bearer r1") == directory.authenticate("Bearer r2") == red
    assert directory.authenticate("Bearer b") == Tenant("blue")


def test_a_key_of_a_file_may_have_groups_and_scopes(tmp_path: Path) -> None:
    directory = read(
        tmp_path, "tenants: [{name: red, keys: [r, {key: h, groups: [hr]}, {key: n, groups: [], scopes: [chat]}]}]"
    )
    assert directory.authenticate("Bearer r").key.groups is None
    assert directory.authenticate("Bearer h").key.groups == {"hr"}
    of_nobody = directory.authenticate("Bearer n").key
    assert (of_nobody.groups, of_nobody.scopes) == (frozenset(), {Scope.CHAT})


def test_a_tenants_class_is_its_own_name_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    directory = read(tmp_path, "tenants:\n- {name: red, keys: [r], class: gold}\n- {name: blue, keys: [b]}")
    assert directory.authenticate("Bearer r").tenant_class == "gold"
    assert directory.authenticate("Bearer b").tenant_class == "blue"


def test_keys_are_not_kept_in_the_clear(tmp_path: Path) -> None:
    assert "hunter2" not in str(vars(Directory.from_settings("hunter2", None)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("tenants: [", "cannot be read"),
        ("teams: []", "cannot be read"),
        ("tenants: []", "no tenant has a key"),
        ("tenants: [{name: a, keys: []}]", "no tenant has a key"),
        ("tenants: [red]", "tenant 0"),
        ("tenants: {name: a}", "tenant 0"),
        ("tenants: [{keys: [a]}]", "tenant 0"),
        ("tenants: [{name: a}]", "tenant 0"),
        ("tenants: [{name: a, keys: abc}]", "list of strings"),
        ("tenants: [{name: a, keys: [123]}]", "quote those that look like numbers"),
        ("tenants: [{name: a, keys: ['']}]", "list of strings"),
        ("tenants: [{name: a, keys: [' x']}]", "list of strings"),
        *(
            (
                f"tenants: [{{name: a, keys: [x], limits: {{requests_per_minute: {value}}}}}]",
                "limit requests_per_minute",
            )
            for value in ("-1", "1.5", "many", "true", ".nan", str(2**53), "[1]")
        ),
        ("tenants: [{name: '', keys: [x]}]", "1 to 64 characters"),
        ('tenants: [{name: "a\\nb", keys: [x]}]', "1 to 64 characters"),
        (f"tenants: [{{name: {'a' * 65}, keys: [x]}}]", "1 to 64 characters"),
        ("tenants: [{name: a, keys: [x], weight: 0}]", "weight must be above 0"),
        ("tenants: [{name: a, keys: [x], weight: .nan}]", "weight must be above 0"),
        ("tenants: [{name: a, keys: [x], weight: .inf}]", "weight must be above 0"),
        ("tenants: [{name: a, keys: [x], weight: heavy}]", "numbers for weight"),
        ("tenants: [{name: a, keys: [x]}, {name: b, keys: [x]}]", "belong to another tenant"),
        ("tenants: [{name: a, keys: [{groups: [hr]}]}]", "list of strings"),
        ("tenants: [{name: a, keys: [{key: x, groups: hr}]}]", "lists of strings"),
        ("tenants: [{name: a, keys: [{key: x, groups: [a b]}]}]", "'a b' is not"),
        ("tenants: [{name: a, keys: [{key: x, scopes: [cook]}]}]", "cook"),
        ("tenants: [{name: a, keys: [{key: x, group: [hr]}]}]", "lists of strings"),
    ],
)
def test_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text, "secret")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Directory.from_settings("", tmp_path / "nowhere.yaml")
