"""RTF: characters in every code page, tables, and text in all the places where programs put it."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.normalization import clean
from tests.unit.knowledge.test_delimited import rows

_FONTS = "".join(
    f"{{\\f{number}\\fnil\\fcharset{charset} Font {number};}}"
    for number, charset in enumerate((0, 128, 134, 129, 136, 204, 238, 161, 177, 178, 222, 2))
)
_HEAD = r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl" + _FONTS + "}"
_OF_FONTS = {
    "cp1252": 0, "cp932": 1, "gb18030": 2, "cp949": 3, "cp950": 4, "cp1251": 5, "cp1250": 6, "cp1253": 7, "cp1255": 8,
    "cp1256": 9, "cp874": 10,
}  # fmt: skip
_WORDS = {
    "cp1252": "Größe naïve façade €", "cp932": "表示ソフトの構成能力ポンプ十予暴貼能", "gb18030": "乗亊俓傻儅退货政策",
    "cp949": "환불 정책 안내 똠방각하", "cp950": "功許蓋退貨政策適用", "cp1251": "Гарантия на насос", "cp1250": "žluťoučký kůň",
    "cp1253": "Εγγύηση αντλίας", "cp1255": "אחריות", "cp1256": "ضمان المضخة", "cp874": "สวัสดีครับ",
}  # fmt: skip


def _text(source: str) -> str:
    return " ".join(convert_bytes("a.rtf", source.encode("latin-1")).text.split())


def _escaped(byte: int, *, hexadecimal: bool) -> str:
    if byte > 127 or (hexadecimal and chr(byte) in "\\{}"):
        return f"\\'{byte:02x}"
    return f"\\{chr(byte)}" if chr(byte) in "\\{}" else chr(byte)


@pytest.mark.parametrize("second", ["in hexadecimal", "as it is"])
@pytest.mark.parametrize("codec", _WORDS)
def test_each_code_page_by_its_font(codec: str, second: str) -> None:
    data = _WORDS[codec].encode(codec)
    body = "".join(_escaped(byte, hexadecimal=second == "in hexadecimal") for byte in data)
    assert _text(f"{_HEAD}\\f{_OF_FONTS[codec]} {body}\\f0 end\\par}}") == f"{_WORDS[codec]}end"


@given(
    runs=st.lists(
        st.sampled_from(sorted(_WORDS)).flatmap(
            lambda codec: st.tuples(
                st.just(codec),
                st.text(st.sampled_from(sorted(set(_WORDS[codec]) - {" "})), min_size=1, max_size=6),
                st.booleans(),
            )
        ),
        min_size=1,
        max_size=5,
    ),
    breaks=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_every_word_is_found_whichever_way_it_is_written(runs: list[tuple[str, str, bool]], breaks: Random) -> None:
    made = []
    for codec, text, hexadecimal in runs:
        pieces = [_escaped(byte, hexadecimal=hexadecimal) for byte in text.encode(codec)]
        # Programs break lines anywhere, but not within an escape.
        body = "".join(piece + breaks.choice(["", "", "\r\n"]) for piece in pieces)
        made.append(f"{{\\f{_OF_FONTS[codec]} {body}}}")
    assert _text(_HEAD + "".join(made) + "\\par}") == clean("".join(text for _, text, _ in runs))


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        (r"\ansi\ansicpg932", r"\'83\'7c\'83\'93\'83\'76", "ポンプ"),
        (r"\ansi\ansicpg932", "\x83\x7c\x83\x93\x83\x76\x83\x5c", "ポンプソ"),
        (r"\ansi\ansicpg65001", r"Gr\'c3\'b6\'c3\'9fe", "Größe"),
        (r"\mac\ansicpg10000", r"Gr\'9a\'a7e", "Größe"),
        (r"\ansi{\fonttbl{\f0\cpg1251 A;}}\f0", r"\'c3\'e0\'f0", "Гар"),
        (r"\ansi\ansicpg1252\deff1{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}}", r"\'c3\'e0\'f0", "Гар"),
        (r"\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}}", r"\f1 \'c3\plain \'f6", "Гö"),
        (r"\ansi\uc2", r"\u12509\'83\'7c\u12531\'83\'93\uc1\u246\'f6x", "ポンöx"),
        (r"\ansi\uc0", r"\u55357\u56832  ok", "😀 ok"),
    ],
)
def test_characters(head: str, body: str, text: str) -> None:
    assert _text(f"{{\\rtf1{head} {body}\\par}}") == text


@pytest.mark.parametrize(
    ("body", "sentences"),
    [
        (r"Text{\super 1{\footnote\ftnalt\pard {\super\chftn} Endnote here}}more", ["Endnote here", "more"]),
        (r"{\headerf H1\par}{\headerl H2}{\footer\f5 \'c3\'e0\'f0\par}Body", ["H1", "H2", "Гар", "Body"]),
        (r"{\field{\*\fldinst{HYPERLINK \\o \"tip\" \"https://example.com/m.pdf\"}}{\fldrslt{\ul Manual}}}",
         ["Manual"]),
        (r'{\field{\*\fldinst{HYPERLINK "https://example.com/m.pdf"}}{\fldrslt{\ul Manual}}}',
         ["https://example.com/m.pdf Manual"]),
        (r"{\field{\*\fldinst FORMDROPDOWN {\*\formfield{\ffres1{\*\ffname D}{\*\ffl Red}{\*\ffl Gr\'fcn}}}}{\fldrslt }}",
         ["Red Grün"]),
        (r"{\field{\*\fldinst EQ \\f(abc,def)}{\fldrslt}}z", ["abc,def z"]),
        (r"{\mmath{\*\moMathPara{\moMathParaPr}{\*\moMath{\mr\i E}{\mr =}{\mf{\mfPr\mctrlPr}{\mnum{\mr mc}}{\mden{\mr 2q}}}}}}",
         ["E=mc/2q"]),
        (r"{\mmath{\*\moMath{\msSup{\me{\mr x}}{\msup{\mr 2}}}{\mr +1}}}{\mmathPict{\pict\wmetafile8 0102}}", ["x^2+1"]),
        (r"{\shp{\*\shpinst{\sp{\sn wzDescription}{\sv A pump}}{\shptxt\pard In a box}}{\shprslt{\*\do{\dptxbxtext In a box}}}}",
         ["A pump", "In a box"]),
        (r"{\*\do\dobxpage\dptxbx{\dptxbxtext\pard An old box\par}\dpx1}Body", ["An old box", "Body"]),
        (r"{\shp{\*\shpinst{\sp{\sn gtextUNICODE}{\sv Art of words}}}}", ["Art of words"]),
        (r"{\*\shppict{\pict{\*\picprop{\sp{\sn wzDescription}{\sv Photo of the hall}}}\pngblip 8950}}{\nonshppict{\pict 01}}x",
         ["Photo of the hall"]),
        (r"a|b|c is a pipe\par cat x |\par grep |", ["a|b|c is a pipe cat x | grep |"]),
        (r"10{\super 6} tons, 12\up6 3\par", ["10^6 tons, 12^3"]),
        (r"{\pict\bin4 }}{{}after", ["after"]),
        (r"one\sect two\page three\line four", ["one two three four"]),
        (r"{\upr{Gr??e}{\*\ud{Gr\u246?\u223?e}}}", ["Größe"]),
        (r"{\*\unknown hidden}{\newer shown}", ["shown"]),
    ],
)  # fmt: skip
def test_text_wherever_programs_put_it(body: str, sentences: list[str]) -> None:
    text = _text(_HEAD + body + r"\par}")
    for sentence in sentences:
        assert sentence in text
    assert "hidden" not in text


_CELL = st.text(st.sampled_from("aZ9ä|;{}\\ \n"), max_size=8).map(lambda text: " ".join(text.split()))


@given(
    table=st.lists(st.lists(_CELL, min_size=3, max_size=3), min_size=2, max_size=5),
    definition=st.sampled_from(["first", "last", "both"]),
)
def test_every_cell_stands_in_its_row(table: list[list[str]], definition: str) -> None:
    table = [["k", "l", "m"], *[[f"r{number}{row[0]}", row[1], f"{row[2]}e"] for number, row in enumerate(table)]]
    begin = r"\trowd\cellx1\cellx2\cellx3 "
    source = ""
    for row in table:
        cells = "".join(
            "".join(_escaped(byte, hexadecimal=False) for byte in cell.replace(" ", "\n").encode("cp1252")).replace(
                "\n", r"\par "
            )
            + r"\cell "
            for cell in row
        )
        source += (
            (begin if definition != "last" else "")
            + r"\pard\intbl "
            + cells
            + (begin if definition != "first" else "")
            + r"\row"
        )
    made = convert_bytes("a.rtf", f"{_HEAD}before\\par {source}\\pard after\\par}}".encode("latin-1"))
    assert rows("\n".join(line for line in made.text.splitlines() if line.startswith("|"))) == table
    assert made.rows == len(table)
    assert made.text.startswith("before")
    assert made.text.rstrip().endswith("after")


def test_merged_cells_stand_in_each_row() -> None:
    source = (
        r"\trowd\clvmgf\cellx1\cellx2\intbl North\cell Kiel\cell\row\trowd\clvmrg\cellx1\cellx2\intbl\cell Husum\cell\row"
        r"\trowd\clmgf\cellx1\clmrg\cellx2\cellx3\intbl Both\cell\cell C\cell\row\pard x\par}"
    )
    made = convert_bytes("a.rtf", (_HEAD + source).encode())
    assert [line for line in made.text.splitlines() if line.startswith("|")] == [
        "| North | Kiel |  |",
        "| --- | --- | --- |",
        "| North | Husum |  |",
        "| Both | Both | C |",
    ]


def test_headings_title_and_pictures() -> None:
    made = convert_bytes(
        "a.rtf", (_HEAD + r"{\info{\title The manual}}\outlinelevel1 Pumps\par\pard Text{\pict 00}\par}").encode()
    )
    assert made.title == "The manual"
    assert "## Pumps\nText" in made.text
    assert made.skipped[0].part == "1 pictures"
