"""winmail.dat: what Outlook packs into one attachment."""

import base64
import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import DocumentError

_SIGNATURE = b"\x78\x9f\x3e\x22\x01\x00"


def _attribute(level: int, number: int, data: bytes, kind: int = 6) -> bytes:
    return struct.pack("<BHHI", level, number, kind, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def _property(number: int, value: str | bytes | int, *, named: str = "") -> bytes:
    name = b""
    if named:
        words = (named + "\0").encode("utf-16-le")
        name = b"\1" * 16 + struct.pack("<II", 1, len(words)) + words + b"\0" * (-len(words) % 4)
    if isinstance(value, int):
        return struct.pack("<HH", 3, number) + name + struct.pack("<i", value)
    kind, raw = (0x1F, (value + "\0").encode("utf-16-le")) if isinstance(value, str) else (0x102, value)
    return struct.pack("<HH", kind, number) + name + struct.pack("<II", 1, len(raw)) + raw + b"\0" * (-len(raw) % 4)


def _properties(*made: bytes) -> bytes:
    return struct.pack("<I", len(made)) + b"".join(made)


def _file(*attributes: bytes) -> bytes:
    return _SIGNATURE + _attribute(1, 0x9007, struct.pack("<II", 1251, 0)) + b"".join(attributes)


def _attached(name: str, content: bytes) -> bytes:
    about = _attribute(2, 0x9002, b"\0" * 14) + _attribute(2, 0x8010, b"SHORT~1.TXT\0") + _attribute(2, 0x800F, content)
    return about + _attribute(2, 0x9005, _properties(_property(0x0E20, 7), _property(0x3707, name)))


def test_bodies_and_attachments_are_read() -> None:
    inner = _file(
        _attribute(1, 0x9003, _properties(_property(0x0037, "Inner subject"), _property(0x1000, "words within")))
    )
    content = _file(
        _attribute(1, 0x8004, "Тема письма\0".encode("cp1251"), 1),
        _attribute(1, 0x9003, _properties(
            _property(0x8005, "a property with a name", named="Keywords"),
            _property(0x3FDE, 65001),
            _property(0x1013, "<p>The valve is <b>open</b>. Größe</p>".encode()),
        )),
        _attached("prices.csv", b"part;price\nVK-4417-B;12\n"),
        _attribute(2, 0x9002, b"\0" * 14) + _attribute(2, 0x9005, _properties(_property(0x3701, b"\7" * 16 + inner))),
    )  # fmt: skip
    made = convert_bytes("winmail.dat", content)
    for words in (
        "# Тема письма",
        "The valve is open. Größe",
        "| VK-4417-B | 12 |",
        "Attachment: prices.csv",
        "words within",
    ):
        assert words in made.text
    assert made.skipped == ()


def test_as_an_attachment_of_a_mail() -> None:
    rich = rb"{\rtf1\ansi The seal is worn \u8211 ? badly.\par}"
    packed = struct.pack("<IIII", 0, len(rich), 0x414C454D, 0) + rich
    content = _file(_attribute(1, 0x9003, _properties(_property(0x1009, packed))))
    mail = (
        b"Subject: s\nMIME-Version: 1.0\nContent-Type: application/ms-tnef; name=winmail.dat\n"
        b"Content-Transfer-Encoding: base64\n\n"
    )
    made = convert_bytes("a.eml", mail + base64.encodebytes(content))
    assert "The seal is worn – badly." in made.text


@given(st.integers(0, 400), st.binary(max_size=8))
def test_a_damaged_one_is_read_as_far_as_it_goes_or_refused(keep: int, noise: bytes) -> None:
    whole = _file(
        _attribute(1, 0x9003, _properties(_property(0x0037, "s"), _property(0x1000, "words"))),
        _attached("a.txt", b"text"),
    )
    with contextlib.suppress(DocumentError):
        convert_bytes("winmail.dat", whole[:keep] + noise + whole[keep + len(noise) :])


def test_what_nests_without_end_is_bounded() -> None:
    content = b"x"
    for _ in range(400):
        about = _attribute(2, 0x9002, b"\0" * 14)
        content = _file(about + _attribute(2, 0x9005, _properties(_property(0x3701, b"\7" * 16 + content))))
    assert convert_bytes("winmail.dat", content).text.count("Attachment") > 5
