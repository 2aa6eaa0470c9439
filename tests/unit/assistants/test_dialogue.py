"""When customer service asks back, refuses and calls a person, by the shipped profile's rules."""

from typing import Any

import pytest

from assistants.dialogue import Move, after_search, before_search, language
from assistants.profile import shipped

RULES = shipped()["support"].support
UNKNOWN = RULES.texts["en"]["unknown"]
BOTH = ["warranty.md\nThe Dewpoint Pro has 30 months.", "warranty.md\nThe Dewpoint Mini has 12 months."]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I want to talk to a human.", "request"),
        ("Can I SPEAK TO A PERSON, please?", "request"),
        ("Ich möchte mit einem Mitarbeiter sprechen", "request"),
        ("This is ridiculous!", "anger"),
        ("Das ist eine Frechheit", "anger"),
        ("How long is the warranty of the Dewpoint Pro?", None),
        ("Is the humanity sensor a useful one?", None),
    ],
)
def test_a_person_is_called_on_request_and_on_anger(text: str, reason: str | None) -> None:
    reply = before_search([user("My pump leaks."), said("Which?"), user(text)], RULES)
    assert (None if reply is None else reply.reason) == reason
    if reply is not None:
        assert reply.move is Move.HANDOVER
        assert reply.summary == f"user: My pump leaks.\nassistant: Which?\nuser: {text}"


def test_a_person_is_called_when_nothing_was_found_twice_in_a_row() -> None:
    first = after_search([user("Who won?")], RULES, [])
    assert first is not None
    assert (first.move, first.text) == (Move.UNKNOWN, UNKNOWN)
    second = after_search([user("Who won?"), said(UNKNOWN), user("And who lost?")], RULES, [])
    assert second is not None
    assert (second.move, second.reason) == (Move.HANDOVER, "unsupported")
    between = [user("Who won?"), said(UNKNOWN), user("Warranty?"), said("30 months."), user("Who lost?")]
    again = after_search(between, RULES, [])
    assert again is not None
    assert again.move is Move.UNKNOWN


def test_it_asks_back_where_members_of_a_family_differ_and_none_is_named() -> None:
    reply = after_search([user("How long is the warranty of my Dewpoint?")], RULES, BOTH)
    assert reply is not None
    assert reply.text == "Which one do you have: Dewpoint Pro, Dewpoint Mini?"
    assert after_search([user("How long is the warranty of my Dewpoint Mini?")], RULES, BOTH) is None
    assert after_search([user("How long is the warranty of my Dewpoint?")], RULES, BOTH[:1]) is None
    told = [user("Warranty of my Dewpoint?"), said(reply.text), user("The Mini. And is a broken Dewpoint case in it?")]
    assert after_search(told, RULES, BOTH) is None


def test_it_follows_the_language() -> None:
    assert (language("Wie lange ist die Garantie?"), language("How long is the warranty?")) == ("de", "en")
    reply = after_search([user("Wie wird das Wetter und was ist mit der Bahn?")], RULES, [])
    assert reply is not None
    assert reply.text == RULES.texts["de"]["unknown"]


def test_a_long_conversation_has_a_short_summary() -> None:
    reply = before_search([*[user("word " * 1000)] * 50, user("I want a real person")], RULES)
    assert reply is not None
    assert len(reply.summary) < 1600
    assert reply.summary.endswith("I want a real person")
