"""Texts are cut without a character lost, and their form is told from their words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistants.writing import Order, Task, order, pieces, spans

MARKDOWN = """---
title: Pumps
---
# The **Mistral Pump**

Turn it on, then read `P-12` at [the manual](https://example.org/a_b?c=d).

- [ ] Clean it
1. Dry it

| part | price |
|------|------:|
| seal | 3 |

```sh
make pump  # not translated
```
<p class="x">It&nbsp;leaks<br/></p>
"""


def words(text: str, glossary: dict[str, str] | None = None) -> list[str]:
    return [each.text for each in spans(text, glossary or {}) if each.words]


def test_the_form_of_markdown_and_html_is_not_words() -> None:
    found = words(MARKDOWN, {"Mistral Pump": "Mistral-Pumpe"})
    assert found == [
        *("The", "Turn it on, then read", "at", "the manual", "Clean it", "Dry it", "part", "price", "seal"),
        *("It", "leaks"),
    ]
    joined = "".join(each.text for each in spans(MARKDOWN, {"Mistral Pump": "Mistral-Pumpe"}))
    assert joined == MARKDOWN.replace("Mistral Pump", "Mistral-Pumpe")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=300) | st.text("ab #-*`|<>[]()\n&;!_~.1", max_size=300))
def test_nothing_of_a_text_is_lost(text: str) -> None:
    assert "".join(each.text for each in spans(text, {})) == text
    assert all(each.text for each in spans(text, {}))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text("ab. \n", max_size=400), st.integers(2, 60))
def test_pieces_cover_all_words_and_are_small(text: str, size: int) -> None:
    found = pieces(text, size)
    assert all(0 < end - start <= size for start, end in found)
    assert "".join("".join(text[start:end].split()) for start, end in found) == "".join(text.split())


@pytest.mark.parametrize(
    ("message", "made"),
    [
        ("Translate to German: A pump.", Order(Task.TRANSLATE, "Translate to German", "A pump.")),
        (
            "Please summarize this\n\nA pump: it leaks.",
            Order(Task.SUMMARISE, "Please summarize this", "A pump: it leaks."),
        ),
        ("Write a poem: about rain", Order(Task.WRITE, "Write a poem", "about rain")),
        ("Translate this", Order(Task.WRITE, "Translate this")),
        ("Translate this:\n\n ", Order(Task.WRITE, "Translate this:\n\n ")),
        ("", Order(Task.WRITE, "")),
    ],
)
def test_a_message_says_what_is_to_be_done(message: str, made: Order) -> None:
    assert order(message) == made


@pytest.mark.parametrize(
    "part", ["```a\n", "<code", "<code>", "[", "](", "`", "~~~~\n```\n", "<!--", "* ", "| ", "- ", "-", " ", "a ", "&a"]
)
def test_no_text_takes_longer_than_its_length_explains(part: str) -> None:
    """100,000 characters: what grows with the square of them would not end within the test's time."""
    text = part * (100_000 // len(part)) + "x"
    assert "".join(each.text for each in spans(text, {})) == text
