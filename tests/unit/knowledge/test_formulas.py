"""Formulas in pages, documents, slides and books: their numbers stay apart, wherever they stand."""

import re
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from pptx import Presentation

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.converters.formulas import line
from tests.unit.knowledge.test_office import saved, word

_M = "http://schemas.openxmlformats.org/officeDocument/2006/math"
Tree = Any
"""A number, or what it is called with its parts."""


def _trees() -> st.SearchStrategy[Tree]:
    number = st.integers(10, 99)

    def over(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        two = st.sampled_from(["over", "raised", "lowered", "root", "sum"])
        return st.tuples(two, inner, inner) | st.tuples(st.just("both"), inner, inner, inner)

    return st.recursive(number, over, max_leaves=8)


def _numbers(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [number for part in tree[1:] for number in _numbers(part)]


def _mathml(tree: Tree) -> str:
    if isinstance(tree, int):
        return f"<mn>{tree}</mn>"
    first, *more = (f"<mrow>{_mathml(part)}</mrow>" for part in tree[1:])
    named = {"over": "mfrac", "raised": "msup", "lowered": "msub", "root": "mroot", "both": "msubsup"}
    if tree[0] == "sum":
        return f"{first}<mo>+</mo>{more[0]}"
    return f"<{named[tree[0]]}>{first}{''.join(more)}</{named[tree[0]]}>"


def _omml(tree: Tree) -> str:
    if isinstance(tree, int):
        return f"<m:r><m:t>{tree}</m:t></m:r>"
    parts = [_omml(part) for part in tree[1:]]
    if tree[0] == "sum":
        return f"{parts[0]}<m:r><m:t>+</m:t></m:r>{parts[1]}"
    kind, *names = {
        "over": ("f", "num", "den"), "raised": ("sSup", "e", "sup"), "lowered": ("sSub", "e", "sub"),
        "root": ("rad", "e", "deg"), "both": ("sSubSup", "e", "sub", "sup"),
    }[tree[0]]  # fmt: skip
    inner = "".join(f"<m:{name}>{part}</m:{name}>" for name, part in zip(names, parts, strict=True))
    return f"<m:{kind}>{inner}</m:{kind}>"


def _found(text: str) -> list[int]:
    return sorted(map(int, re.findall(r"\d+", text)))


@given(_trees())
@settings(max_examples=60, deadline=None)
def test_every_number_of_a_formula_stays_itself(tree: Tree) -> None:
    mathml, omml = f"<math>{_mathml(tree)}</math>", f'<m:oMath xmlns:m="{_M}">{_omml(tree)}</m:oMath>'
    for source in (mathml, omml):
        assert _found(line(etree.fromstring(source))) == sorted(_numbers(tree))
    assert _found(convert_bytes("a.html", f"<p>It is {mathml}.</p>".encode()).text) == sorted(_numbers(tree))
    text = convert_bytes("a.docx", word(f"<w:p><w:r><w:t>It is </w:t></w:r>{omml}</w:p>")).text
    assert [number for number in _found(text) if number > 9] == sorted(_numbers(tree))  # a root has a 2 in LaTeX


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<mfrac><mn>12</mn><mn>34</mn></mfrac>", "12/34"),
        ("<msup><mn>10</mn><mn>6</mn></msup>", "10^6"),
        ("<mi>sin</mi><mi>x</mi><mo>+</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>", "sin x+mc^2"),
        ("<semantics><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><annotation>a+b</annotation></semantics>", "a+b"),
        ("<semantics><mrow/><annotation>a+b</annotation></semantics>", "a+b"),
        ("<mfenced open='[' close=']' separators=';'><mn>1</mn><mn>2</mn></mfenced>", "[1;2]"),
        ("<mtable><mtr><mtd>1</mtd><mtd>2</mtd></mtr><mtr><mtd>3</mtd><mtd>4</mtd></mtr></mtable>", "[1, 2; 3, 4]"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>", "∑_(i=1)^n"),
        ("<msqrt><mi>x</mi><mo>+</mo><mn>1</mn></msqrt>", "√(x+1)"),
        (f"{'<mrow>' * 300}<mn>5</mn>{'</mrow>' * 300}", "5"),
    ],
)
def test_formulas_as_they_are_read(source: str, words: str) -> None:
    assert convert_bytes("a.html", f"<p>It is <math>{source}</math>.</p>".encode()).text == f"It is {words}.\n"


def test_a_formula_and_a_power_on_a_slide() -> None:
    deck = Presentation()
    box = deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame
    box.paragraphs[0].add_run().text = "The share"
    main = "http://schemas.microsoft.com/office/drawing/2010/main"
    omml = f'<m:oMath xmlns:m="{_M}">{_omml(("over", 12, 34))}</m:oMath>'
    formula = f'<a14:m xmlns:a14="{main}">{omml}</a14:m>'
    box.paragraphs[0]._p.append(etree.fromstring(formula))
    power = box.add_paragraph()
    power.add_run().text = "10"
    raised = power.add_run()
    raised.text = "6"
    raised.font._element.set("baseline", "30000")
    text = convert_bytes("a.pptx", saved(deck)).text
    assert "The share 12/34" in " ".join(text.split())
    assert "10^6" in text


def test_a_power_in_an_open_document() -> None:
    names = " ".join(
        f'xmlns:{kind}="urn:oasis:names:tc:opendocument:xmlns:{kind}:1.0"' for kind in ("office", "text", "style")
    )
    style = '<style:style style:name="T1"><style:text-properties style:text-position="super 58%"/></style:style>'
    content = (
        f"<office:document {names}><office:automatic-styles>{style}</office:automatic-styles><office:body><office:text>"
        '<text:p>10<text:span text:style-name="T1">6</text:span> Hz</text:p></office:text></office:body></office:document>'
    )
    assert convert_bytes("a.fodt", BytesIO(content.encode()).read()).text == "10^6 Hz\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<button aria-label="Close dialog"></button> x', "Close dialog x"),
        ('<span role="img" aria-label="4 of 5 stars"></span> x', "4 of 5 stars x"),
        ('<amp-img alt="The pump"></amp-img> x', "The pump x"),
        ('<span title="Pump station North">Pump sta…</span> x', "Pump sta… (Pump station North) x"),
        ("<s>100</s> 80", "~~100~~ 80"),
        ('<my-card><template shadowroot="open">In it</template>Out</my-card>', "In it Out"),
    ],
)
def test_what_elements_say_without_words_of_their_own(body: str, words: str) -> None:
    assert " ".join(convert_bytes("a.html", f"<p>{body}</p>".encode()).text.split()) == words


def test_pages_in_a_frameset_are_told() -> None:
    made = convert_bytes("a.html", b"<frameset><frame src=a><frame src=b><noframes>Words.</noframes></frameset>")
    assert (made.text, [each.part for each in made.skipped]) == ("Words.\n", ["frames"])
