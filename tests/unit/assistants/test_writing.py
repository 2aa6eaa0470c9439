"""Texts are cut without a character lost, and their form is told from their words."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistants.writing import Order, Task, as_words, order, pieces, spans, worded
from ragfleet.evaluation.assistants.content import form_of

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

INLINE = (
    "plain words",
    "**bold** text",
    "*em* text",
    "_em_ text",
    "__bold__ text",
    "~~gone~~ text",
    "`code x` text",
    "``a ` b`` text",
    "[link text](http://x.y/a_b?c=d) end",
    "[link](a(b)c) end",
    '[link](a "ti (t) le") end',
    "![pic alt](p.png) end",
    "[![img](x.png)](y) end",
    "[text][ref] end",
    "[ref][] end",
    "[ref] end",
    "note[^1] end",
    "a &amp; b &#8364; c",
    "esc \\* star \\[x\\] end",
    "<b>bold</b> text",
    "<a href=\"a > b\" title='x'>link</a> end",
    "<br/> end",
    "<https://e.org/a> end",
    "https://e.org/a_b end",
    "2 < 3 and 5 > 4 here",
    "snake_case_name here",
    "a * b * c here",
    "one | two",
    "***both*** text",
    "end.  ",
    "**bold *em* more** text",
    "x**y**z",
    "(paren) text",
    '50% of "it"',
    "one *two\nthree* four",
    "1) not list",
    "# not heading",
)
"""In a line."""
BLOCKS = (
    "{}",
    "# {}",
    "### {} ###",
    "- {}\n- {}",
    "- {}\n  - {}\n    - {}",
    "- {}\n\n  {}",
    "1. {}\n2. {}",
    "1. {}\n   - {}",
    "> {}",
    "> {}\n> {}",
    "> > {}\n> {}",
    ">{}",
    "> - {}\n> - {}",
    "> # {}",
    "- # {}",
    "- > {}",
    "- - {}",
    "{}\n===",
    "{}\n---",
    "---",
    "***",
    "* * *",
    "```sh\ncode {}\n```",
    "~~~\ncode\n~~~",
    "````\n```\ncode\n```\n````",
    "- {}\n\n  ```\n  code\n  ```",
    "> ```\n> code\n> ```",
    "    indented code",
    "\tcode",
    "- [ ] {}\n- [x] {}",
    "| {} | {} |\n|---|:--:|\n| {} | {} |",
    '<p class="x">{}</p>',
    "<div>\n{}\n</div>",
    "<!-- {} -->",
    "<script>{}</script>",
    '[ref]: http://x.y "title"',
    "{}\n{}",
    "{}  \n{}",
    "* {}\n+ {}",
    "10. {}\n11. {}",
    "<table><tr><td>{}</td></tr></table>",
    '<a\n href="x">{}</a>',
)
"""Of Markdown, each with places for lines."""


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


WRITTEN = ("Wort", "Ein Wort.", "1. Wort", " - 2) Wort!", "(Wort)", "# Wort", "+ Wort…", '"Wort", Wort?', "&amp; Wort;")
"""What a model may write under the guide of a translation."""


def blocks(rng: random.Random, count: int) -> str:
    chosen = [rng.choice(BLOCKS) for _ in range(count)]
    made = [block.format(*(rng.choice(INLINE) for _ in range(block.count("{}")))) for block in chosen]
    return "\n\n".join([*made, "[ref]: https://example.org/x"])


def test_with_other_words_any_markdown_has_the_form_it_had() -> None:
    rng = random.Random(20291127)
    for count in (1,) * 150 + (4,) * 60:
        text = blocks(rng, count)
        translated = "".join(as_words(rng.choice(WRITTEN)) if span.words else span.text for span in spans(text, {}))
        assert form_of("markdown", translated) == form_of("markdown", text), text


@pytest.mark.parametrize("means", ["Dewpoint Pro", "Taupunkt", "Tau Punkt Pro", "C++ (x)", r"a.\1 (?:b)"])
def test_a_term_is_kept_wherever_lines_end_and_the_form_with_it(means: str) -> None:
    rng, glossary = random.Random(means), {"Dewpoint Pro": means, "Dewpoint": "Other", "leaks": "leckt"}
    for count in (1,) * 60 + (4,) * 40:
        text = blocks(rng, count).replace("text", "the Dewpoint Pro leaks")
        if rng.random() < 0.7:
            text = text.replace("Dewpoint Pro", rng.choice(["Dewpoint\nPro", "Dewpoint  Pro", "Dewpoint \n Pro"]))
        made = "".join("Wort" if span.words else span.text for span in spans(text, glossary))
        same = "".join(span.text for span in spans(text, {"Dewpoint Pro": "Dewpoint Pro"}))
        assert form_of("markdown", made) == form_of("markdown", text), text
        assert " ".join(same.split()) == " ".join(text.split())


def test_a_term_over_the_end_of_a_line_is_one() -> None:
    text = "We sell the Dewpoint\nPro, and the\n  Dewpoint  \n  Pro.\n\nDewpoint\n\nPro\n"
    made = "".join(each.text for each in spans(text, {"Dewpoint Pro": "Tau Punkt", "the": "das"}))
    assert made == "We sell das Tau\nPunkt, and das\n  Tau  \n  Punkt.\n\nDewpoint\n\nPro\n"
    made = "".join(each.text for each in spans(text, {"Dewpoint Pro": "Taupunkt"}))
    assert made == "We sell the Taupunkt\n, and the\n  Taupunkt  \n  .\n\nDewpoint\n\nPro\n"


def test_formulas_are_form_and_amounts_are_not() -> None:
    assert words("It is $E = mc^2$, so $$\nx_1 + y\n$$ holds.") == ["It is", "so", "holds"]
    assert words("From $5 to $6, or US$7-$8 a day.") == ["From $5 to $6, or US$7-$8 a day"]
    assert words("From 5$ to 6$ a day.") == ["From 5$ to 6$ a day"]


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
        ("翻译成德语：\n你好", Order(Task.TRANSLATE, "翻译成德语", "你好")),
        ("请总结：水泵漏水。", Order(Task.SUMMARISE, "请总结", "水泵漏水。")),
        ("Traduis en allemand :\nBonjour", Order(Task.TRANSLATE, "Traduis en allemand", "Bonjour")),
        ("Übersetze ins Englische:\nHallo", Order(Task.TRANSLATE, "Übersetze ins Englische", "Hallo")),
        ("Translate this", Order(Task.WRITE, "Translate this")),
        ("Translate this:\n\n ", Order(Task.WRITE, "Translate this:\n\n ")),
        ("", Order(Task.WRITE, "")),
    ],
)
def test_a_message_says_what_is_to_be_done(message: str, made: Order) -> None:
    assert order(message) == made


@pytest.mark.parametrize(
    "part",
    [
        *(
            "```a\n",
            "<code",
            "<code>",
            "[",
            "](",
            "`",
            "``a",
            "~~~~\n```\n",
            "<!--",
            "* ",
            "| ",
            "- ",
            "-",
            " ",
            "a ",
            "&a",
        ),
        *('<a "', "<a '", '<a ""', "](a(b)", '](a"', "](((", "> ", ">", "1. ", "_", "\\", "[a]", "][", "![", "[^"),
        *("    a\n\n", "a_", "_a", "1.", "a.", "$", "$a", "$$", "$$a", "a $ ", "the ", "the\n"),
    ],
)
def test_no_text_takes_longer_than_its_length_explains(part: str) -> None:
    """100,000 characters: what grows with the square of them would not end within the test's time."""
    text = part * (100_000 // len(part)) + "x"
    assert "".join(each.text for each in spans(text, {})) == text
    assert "".join(each.text for each in spans(text + "the" + " " * 100_000, {"the end": "the end"})).startswith(text)
    assert as_words(text).endswith("x")


def test_parts_of_a_line_and_terms_in_it_take_a_time_by_their_number_alone() -> None:
    """Each part with each term would be thousands of millions."""
    parts = ["Dew", "point Pro ", "opens. "] * 50_000
    found = list(worded(parts, {"Dewpoint Pro": "Taupunkt Pro"}))
    assert len(found) == len(parts)
    assert sum(span.text == "Taupunkt Pro" for spans in found for span in spans) == 50_000
