"""Numbers that Word shows before headings, clauses and list items stand in the text."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from tests.unit.knowledge.test_office import W, paragraph, word

_FORMS = {
    "decimal": str,
    "lowerLetter": lambda number: "abcdefghijklmnopqrstuvwxyz"[number - 1],
    "upperRoman": lambda number: ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"][number - 1],
}


def _item(text: str, level: int, number: int = 1) -> str:
    place = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
    return f"<w:p><w:pPr>{place}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def _list(*levels: tuple[str, str], start: int = 1, more: str = "") -> str:
    made = "".join(
        f'<w:lvl w:ilvl="{at}"><w:start w:val="{start if at == 0 else 1}"/><w:numFmt w:val="{form}"/>'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
        for at, (form, text) in enumerate(levels)
    )
    kind = f'<w:abstractNum w:abstractNumId="0">{made}</w:abstractNum>'
    return f'<w:numbering {W}>{kind}<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>{more}</w:numbering>'


def _text(body: str, numbering: str, **parts: str) -> str:
    return " ".join(convert_bytes("a.docx", word(body, numbering=numbering, **parts)).text.split())


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.sampled_from(sorted(_FORMS)), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_every_clause_has_the_number_that_word_shows(levels: list[int], form: str, start: int) -> None:
    texts = [("decimal", "Art. %1"), (form, "%1.%2"), ("lowerLetter", "(%3)"), ("bullet", "•")]
    counts: list[int] = []
    expected: list[str] = []
    body = ""
    for at, wished in enumerate(levels):
        body += _item(f"words{at}", level := min(wished, len(counts)))
        if level == 3:
            continue
        counts = [*counts[:level], counts[level] + 1 if level < len(counts) else (1 if level else start)]
        body += paragraph("between") if at % 3 == 0 else ""
        label = [f"Art. {counts[0]}", "", ""]
        label[1] = f"{counts[0]}.{_FORMS[form](counts[1])}" if level > 0 else ""
        label[2] = f"({_FORMS['lowerLetter'](counts[2])})" if level > 1 else ""
        expected.append(f"{label[level]} words{at}")
    text = _text(body, _list(*texts, start=start))
    for words in expected:
        assert words in text
    assert [int(word[5:]) for word in text.split() if word.startswith("words")] == list(range(len(levels)))


def test_lists_that_are_numbered_from_one_stay_lists() -> None:
    plain = [("decimal", "%1."), ("decimal", "%2.")]
    body = _item("one", 0) + _item("inner", 1) + _item("two", 0) + paragraph("The end.")
    made = convert_bytes("a.docx", word(body, numbering=_list(*plain))).text
    assert made == "1. one\n\n   1. inner\n2. two\n\nThe end.\n"


def test_headings_are_numbered_by_their_style_and_lists_begin_anew_where_they_say_so() -> None:
    override = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'
    again = f'<w:num w:numId="2"><w:abstractNumId w:val="0"/>{override}</w:num>'
    numbered = '<w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr>'
    styles = (
        f'<w:styles {W}><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>{numbered}</w:style>'
        '<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="Heading1"/></w:style></w:styles>'
    )
    body = paragraph("Scope", "Heading1") + paragraph("Terms", "Own") + _item("later", 0, 2) + _item("last", 0, 2)
    text = _text(body, _list(("upperRoman", "§ %1"), more=again), styles=styles)
    assert text == "# § I Scope § II Terms § VII later § VIII last"


def test_what_a_list_says_that_cannot_be_read_changes_nothing() -> None:
    odd = f'<w:numbering {W}><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="x"/></w:abstractNum></w:numbering>'
    assert _text(_item("words", 0), odd) == "words"
    assert len(_text(_item("words", 0) * 20, _list(("decimal", "%1" * 5000)))) < 20 * 200
