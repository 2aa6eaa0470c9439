"""Compound files: Outlook's messages, Word and PowerPoint of before 2007. They are made here, by the published formats."""

import contextlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.converters.outlook import unpacked
from gateway.knowledge.documents import CorruptDocument, DocumentError, EncryptedDocument, UnsupportedDocument
from tests.support.compound_file import compound_file

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "Nd"]), min_size=1, max_size=12)
FILETIME = (1_709_640_000 + 11_644_473_600) * 10_000_000  # 2024-03-05 12:00 UTC


def properties(outer: bool = True) -> bytes:
    return b"\0" * (32 if outer else 24) + struct.pack("<HHIQ", 0x40, 0x0039, 6, FILETIME)


def message(body: str = "", **more: bytes) -> dict[str, Any]:
    """Streams of a message; `more` are properties by number and type."""
    texts = {"0037": "Pump 7 leaks", "0C1A": "Ann Ash", "5D01": "ann@x.example", "0E04": "Bob Birch", "1000": body}
    streams: dict[str, Any] = {f"__substg1.0_{number}001F": text.encode("utf-16-le") for number, text in texts.items()}
    streams |= {f"__substg1.0_{key.removeprefix('p')}": value for key, value in more.items()}
    return {"__properties_version1.0": properties(), **streams}


def attachment(name: str, content: bytes) -> dict[str, bytes]:
    return {"__substg1.0_3707001F": name.encode("utf-16-le"), "__substg1.0_37010102": content}


def test_a_message_with_head_attachments_and_a_message_within() -> None:
    inner = message("Inner words.") | {"__properties_version1.0": properties(outer=False)}
    streams = message("The seal is worn – replace it.") | {
        "__attach_version1.0_#00000000": attachment("list.csv", b"part,count\nseal,4\n"),
        "__attach_version1.0_#00000001": {"__substg1.0_3701000D": inner},
        "__attach_version1.0_#00000002": attachment("film.mp4", b"\0\1"),
    }
    made = convert_bytes("a.msg", compound_file(streams))
    assert made.title == "Pump 7 leaks"
    for words in (
        "From: Ann Ash <ann@x.example>", "To: Bob Birch", "Date: Tue, 05 Mar 2024 12:00", "The seal is worn – replace it.",
        "| seal | 4 |", "Inner words.",
    ):  # fmt: skip
        assert words in made.text, words
    assert ["film.mp4" in each.part for each in made.skipped] == [True]


@pytest.mark.parametrize(
    "more",
    [
        {"p10130102": '<html><meta charset="utf-8"><p>The seal – is worn.</p>'.encode()},
        {"p1013001F": "<p>The seal – is worn.</p>".encode("utf-16-le")},
        {"p10090102": struct.pack("<IIII", 0, 41, 0x414C454D, 0) + rb"{\rtf1\ansi The seal \u8211 ? is worn.\par}"},
        {"p1000001E": "The seal – is worn.".encode("cp1252"), "p1000001F": b""},
    ],
)
def test_a_body_in_any_of_its_forms(more: Mapping[str, bytes]) -> None:
    assert "The seal – is worn." in convert_bytes("a.msg", compound_file(message(**more))).text


def test_packed_text_is_unpacked() -> None:
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c090020627705b06c647d0a800fa0".replace(
            " ", ""
        )
    )
    assert unpacked(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"  # the example of MS-OXRTFCP
    for broken in (b"", packed[:10], packed[:8] + b"1234" + packed[12:]):
        with pytest.raises(CorruptDocument):
            unpacked(broken)


def word(parts: Sequence[str], *, wide: bool = True, flags: int = 0, version: int = 0xC1) -> bytes:
    """A document of text, notes, headers, comments, endnotes, boxes, boxes of headers; in two pieces."""
    texts = [*parts, *[""] * (7 - len(parts))]
    texts.insert(3, "")
    encoding, unit = ("utf-16-le", 2) if wide else ("cp1252", 1)
    whole = "".join(texts).encode(encoding)
    size = len(whole) // unit
    half = size // 2
    first, second = whole[: half * unit], whole[half * unit :]
    head = bytearray(2048)
    struct.pack_into("<HH", head, 0, 0xA5EC, version)
    struct.pack_into("<H", head, 10, flags | 0x0200)
    struct.pack_into("<8i", head, 76, *(len(text.encode(encoding)) // unit for text in texts))
    places = [(4096, len(first)), (2048, len(second))]  # the second piece lies before the first
    pieces = struct.pack("<3I", 0, half, size)
    for place, _ in places:
        pieces += struct.pack("<HIH", 0, place if wide else place * 2 | 0x40000000, 0)
    table = b"\x01\x02\x00zz" + b"\x02" + struct.pack("<I", len(pieces)) + pieces
    struct.pack_into("<II", head, 0x1A2, 0, len(table))
    stream = bytes(head) + second.ljust(2048, b"\0") + first
    assert len(second) <= 2048
    return compound_file({"WordDocument": stream, "1Table": table})


@given(st.lists(WORDS, min_size=1, max_size=12), st.booleans())
def test_every_paragraph_of_word_is_found_again_in_order(paragraphs: list[str], wide: bool) -> None:
    if not wide:
        paragraphs = [each.encode("cp1252", "ignore").decode("cp1252") + "x" for each in paragraphs]
    made = convert_bytes("a.doc", word(["\r".join(paragraphs) + "\r"], wide=wide))
    from gateway.knowledge.normalization import clean

    at = 0
    for each in paragraphs:
        at = made.text.index(clean(each), at) + len(clean(each))


def test_tables_fields_notes_and_boxes_of_word() -> None:
    text = 'See \x13 HYPERLINK "http://x" \x14the list\x15.\rpart\x07count\x07\x07seal\x074\x07\x07End\x01\r'
    made = convert_bytes("a.doc", word([text, "A note.\r", "", "A remark.\r", "", "A box.\r"]))
    for words in (
        "See the list.",
        "part | count",
        "seal | 4",
        "End",
        "Notes:\n\nA note.",
        "Comments:\n\nA remark.",
        "Text boxes:\n\nA box.",
    ):
        assert words in made.text, words
    assert made.skipped


def record(kind: int, body: bytes, *, container: bool = False, instance: int = 0) -> bytes:
    return struct.pack("<HHI", instance << 4 | (0xF if container else 0), kind, len(body)) + body


def slides(decks: Sequence[tuple[str, str, str]], *, marker: int = 0xE391C05F) -> bytes:
    """PowerPoint: of each slide the outline, a box (in one byte a character), the notes. An older edit is left behind."""
    stream = record(0x03EE, record(0x0FA0, "STALE".encode("utf-16-le")), container=True)
    places: dict[int, int] = {}
    for at, (_, box, note) in enumerate(decks):
        places[2 + 2 * at] = len(stream)
        drawn = record(0x0FA8, box.encode("latin-1"))
        for kind in (0xF00D, 0xF004, 0xF003, 0xF002, 0x040C):
            drawn = record(kind, drawn, container=True)
        stream += record(0x03EE, drawn, container=True)
        places[3 + 2 * at] = len(stream)
        own = record(0x0FA0, note.encode("utf-16-le"))
        stream += record(
            0x03F0,
            record(0x03F1, struct.pack("<II", 256 + at, 0)) + record(0xF00D, own, container=True),
            container=True,
        )
    outline, notes = b"", b""
    for at, (title, _, _) in enumerate(decks):
        outline += record(0x03F3, struct.pack("<IIIII", 2 + 2 * at, 0, 1, 256 + at, 0)) + record(
            0x0FA0, title.encode("utf-16-le")
        )
        notes += record(0x03F3, struct.pack("<IIIII", 3 + 2 * at, 0, 0, 256 + at, 0))
    places[1] = len(stream)
    lists = record(0x0FF0, outline, container=True) + record(0x0FF0, notes, container=True, instance=2)
    stream += record(0x03E8, lists, container=True)
    directory = len(stream)
    stream += record(
        0x1772, struct.pack(f"<I{len(places)}I", 1 | len(places) << 20, *(places[key] for key in sorted(places)))
    )
    edit = len(stream)
    stream += record(0x0FF5, struct.pack("<IIIIIII", 0, 0, 0, directory, 1, 0, 0))
    user = record(0x0FF6, struct.pack("<III", 20, marker, edit) + b"\0" * 8)
    return compound_file({"PowerPoint Document": stream, "Current User": user})


@given(st.lists(st.tuples(WORDS, st.sampled_from(["one", "two ü", "three"]), WORDS), min_size=1, max_size=6))
def test_every_slide_is_a_page_with_its_words(decks: list[tuple[str, str, str]]) -> None:
    from gateway.knowledge.normalization import clean

    made = convert_bytes("a.ppt", slides(decks))
    pages = [made.text[start:end] for start, end in zip(made.page_starts, [*made.page_starts[1:], None], strict=True)]
    assert "STALE" not in made.text
    for page, words in zip(pages, decks, strict=True):
        assert all(clean(each) in page for each in words)


def test_they_are_known_by_what_they_are_and_old_endings_may_be_text() -> None:
    assert "Words" in convert_bytes("a.docx", word(["Words\r"])).text
    assert convert_bytes("a.doc", b"plain words\n").text == "plain words\n"
    assert convert_bytes("a.doc", b"{\\rtf1 rich}").text.strip() == "rich"


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.doc", word(["x"], flags=0x0100), EncryptedDocument),
        ("a.doc", word(["x"], version=0x65), UnsupportedDocument),
        ("a.ppt", slides([("a", "b", "c")], marker=0xF3D1C4DF), EncryptedDocument),
        ("a.doc", compound_file({"WordDocument": b"\xec\xa5"}), DocumentError),
        ("a.ppt", compound_file({"PowerPoint Document": b"x"}), DocumentError),
        ("a.msg", compound_file({"other": b"x"}), DocumentError),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 cut", CorruptDocument),
        ("a.msg", b"\0\1\2", DocumentError),
        ("a.zip", b"\0\1\2", UnsupportedDocument),
    ],
)
def test_what_cannot_be_read_says_why(name: str, content: bytes, error: type[DocumentError]) -> None:
    with pytest.raises(error):
        convert_bytes(name, content)


def test_a_kind_that_is_not_read_says_what_to_do() -> None:
    with pytest.raises(UnsupportedDocument, match="unpack it"):
        convert_bytes("a.7z", b"\0\1\2")


@given(st.binary(max_size=3000), st.integers(0, 2000))
def test_a_damaged_file_raises_what_is_known(junk: bytes, at: int) -> None:
    for name, whole in (
        ("a.doc", word(["Some words.\r"])),
        ("a.ppt", slides([("a", "b", "c")])),
        ("a.msg", compound_file(message("x"))),
    ):
        with contextlib.suppress(DocumentError):
            convert_bytes(name, whole[: 512 + at] + junk + whole[512 + at + len(junk) :])
