"""The gateway signs filters, `retrieval` checks them: both sides against each other, for they share no code."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.filter_signature import FilterSigner
from retrieval_search import FilterRefused
from retrieval_search.filter_signature import FilterVerifier, read_secret

NOW = 1_800_000_000.0
SIGNER = FilterSigner("secret", valid_s=60, clock=lambda: NOW)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)


def check(collection: str, expression: str, signature: str, *, at: float = NOW, secret: str = "secret") -> None:
    FilterVerifier(secret, lambda: at).check(collection, expression, signature)


@given(words, words)
def test_what_the_gateway_signs_is_taken(collection: str, expression: str) -> None:
    check(collection, expression, SIGNER.sign(collection, expression), at=NOW + 59)


@given(words, words, words, words)
def test_a_signature_is_of_one_filter_on_one_collection(a: str, b: str, c: str, d: str) -> None:
    if (a, b) != (c, d):
        with pytest.raises(FilterRefused):
            check(c, d, SIGNER.sign(a, b))


@given(st.text(max_size=100) | words.map(lambda word: f"v1.{int(NOW) + 9}.{word}"))
def test_nothing_else_is_taken(signature: str) -> None:
    with pytest.raises(FilterRefused):
        check("chunks", 'tenant != ""', signature)


@pytest.mark.parametrize(("at", "secret", "why"), [(NOW + 61, "secret", "expired"), (NOW, "other", "another secret")])
def test_an_old_one_or_one_of_another_secret_is_refused_with_the_reason(at: float, secret: str, why: str) -> None:
    with pytest.raises(FilterRefused, match=f"^retrieval: filter refused: .*{why}"):
        check("chunks", "filter", SIGNER.sign("chunks", "filter"), at=at, secret=secret)


def test_an_expiry_cannot_be_moved() -> None:
    version, until, digest = SIGNER.sign("chunks", "filter").split(".")
    with pytest.raises(FilterRefused):
        check("chunks", "filter", f"{version}.{int(until) + 9}.{digest}")


def test_without_a_secret_nothing_is_signed_and_everything_taken() -> None:
    assert FilterSigner("").sign("chunks", "filter") == ""
    check("chunks", "filter", "", secret="")


def test_the_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    assert read_secret({"RAGFLEET_FILTER_SECRET_FILE": str(file)}) == "from the file"
    assert read_secret({"RAGFLEET_FILTER_SECRET": "as it is"}) == "as it is"
    assert read_secret({}) == ""
    file.write_text("\n")
    with pytest.raises(ValueError, match="empty"):  # a fleet that wants signatures must not go without
        read_secret({"RAGFLEET_FILTER_SECRET_FILE": str(file)})
