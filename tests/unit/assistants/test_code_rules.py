"""Rules of the code assistant: names in questions, places in answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistants.code import Place, appendix, asks_for_uses, fact, is_among, names_in, places_in


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("Where is `open` defined?", ["open"]),
        ("Where is the class GenerationService defined?", ["GenerationService"]),
        ("What calls open_choices() in Door.open?", ["open_choices()", "Door.open"]),
        ("Who uses the function water?", ["water"]),
        ("Where is the Placer told of it?", ["Placer"]),
        ("Where are stop strings cut out of a streamed answer?", []),
        ("Why is docs/design.md, e.g. here, not code?", []),
        ("Placer? What is it", []),
        ("std::io::Read", ["std::io::Read"]),
    ],
)
def test_names_are_told_from_words(question: str, names: list[str]) -> None:
    assert names_in(question) == names


@given(st.text(max_size=300))
def test_any_question_has_few_names_and_each_is_in_it(question: str) -> None:
    names = names_in(question)
    assert len(names) <= 8
    assert all(name in question for name in names)


def test_uses_are_asked_for_by_words() -> None:
    for question in (
        "What calls x?",
        "Who uses it?",
        "Which modules import os?",
        "Where is it CALLED?",
        "callers of f",
    ):
        assert asks_for_uses(question), question
    for question in ("Where is the user's key?", "Is it useful?", "Where is it recalled?"):
        assert not asks_for_uses(question), question


def test_places_are_read_from_words_and_compared_with_what_was_seen() -> None:
    text = "See `gateway/app.py:12`, app.py:3-9 and http://x.org:80, 12:30, a.b:c."
    assert [str(each) for each in places_in(text)] == ["gateway/app.py:12", "app.py:3-9"]
    known = [Place("gateway/app.py", 10, 20)]
    assert is_among(Place("gateway/app.py", 10, 20), known)
    assert is_among(Place("app.py", 12, 12), known)
    for other in (
        Place("app.py", 9, 12),
        Place("p.py", 12, 12),
        Place("app.py", 20, 12),
        Place("other/app.py", 12, 12),
    ):
        assert not is_among(other, known), other


def test_what_stands_behind_an_answer() -> None:
    seen, commits = [Place("a.py", 1, 2), Place("b.py", 3, 3)], {"a.py": "0123456789abcdef-dirty"}
    assert appendix(seen[:1] * 2, seen, [], commits) == "\n\nSources:\n- `a.py:1-2` (commit 0123456789ab-dirty)"
    assert appendix([], seen, [], {}) == "\n\nLooked at:\n- `a.py:1-2`\n- `b.py:3`"
    assert appendix([], [], [Place("c.py", 1, 1)], {}).endswith("do not rely on it: `c.py:1`")
    assert appendix([], [], [], {}) == ""
    assert appendix([], [], [], {}, ["Known."]) == "\n\nKnown."
    assert fact("f", seen, seen[:1] * 2) == "`f` is defined at `a.py:1-2`, `b.py:3`; used at `a.py:1-2`."
    assert fact("f", [], [Place("a.py", n, n) for n in range(1, 9)]).endswith("`a.py:5` and 3 more.")
    assert fact("f", [], []) == ""
