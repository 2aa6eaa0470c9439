"""winmail.dat (TNEF), in which Outlook puts the formatted text and the attachments of a mail for other Outlooks (MS-OXTNEF).

It is made an ordinary message, which mail.py reads.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

from gateway.knowledge.converters import mail, outlook, richtext
from gateway.knowledge.converters.rtf_characters import of_code_page
from gateway.knowledge.documents import CorruptDocument, Document

SIGNATURE = b"\x78\x9f\x3e\x22"
_SUBJECT, _BODY, _CODE_PAGE, _PROPERTIES = 0x8004, 0x800C, 0x9007, 0x9003
_RENDERED, _TITLE, _DATA, _OF_ATTACHMENT = 0x9002, 0x8010, 0x800F, 0x9005
_MAX_ATTACHMENTS = 1_000
_STRING, _WIDE, _BINARY, _OBJECT = 0x1E, 0x1F, 0x102, 0x0D
_SIZES = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
"""Bytes of a property's value by its type, filled up to four."""
_PLAIN, _RTF, _HTML, _ABOUT = 0x1000, 0x1009, 0x1013, 0x0037
_LONG_NAME, _NAME, _CONTENT = 0x3707, 0x3704, 0x3701


@dataclass
class _Attachment:
    name: str = "attachment"
    content: bytes = b""
    properties: dict[int, bytes | str] = field(default_factory=dict)


def winmail(name: str, content: bytes, convert: mail.Convert) -> Document:
    """Subject, the richer of the bodies, attachments. Raises CorruptDocument."""
    try:
        return mail.of_message(name, _message(content), convert)
    except (struct.error, IndexError, ValueError, RecursionError) as error:
        raise CorruptDocument(f"{name} is damaged: {error}") from error


def _message(content: bytes) -> EmailMessage:
    codec = "cp1252"
    said: dict[int, bytes | str] = {}
    subject = plain = ""
    attachments: list[_Attachment] = []
    for number, data in _attributes(content):
        if number == _CODE_PAGE and len(data) >= 4:
            codec = of_code_page(struct.unpack_from("<I", data)[0]) or codec
        elif number == _SUBJECT:
            subject = _text(data, codec)
        elif number == _BODY:
            plain = _text(data, codec)
        elif number == _PROPERTIES:
            said |= dict(_properties(data, codec))
        elif number == _RENDERED and len(attachments) < _MAX_ATTACHMENTS:
            attachments.append(_Attachment())
        elif attachments and number == _TITLE:
            attachments[-1].name = _text(data, codec)
        elif attachments and number == _DATA:
            attachments[-1].content = data
        elif attachments and number == _OF_ATTACHMENT:
            attachments[-1].properties |= dict(_properties(data, codec))
    return _made(subject or _string(said.get(_ABOUT)), plain or _string(said.get(_PLAIN)), said, attachments)


def _made(subject: str, plain: str, said: dict[int, bytes | str], attachments: list[_Attachment]) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    html = said.get(_HTML, b"")
    html = html.encode() if isinstance(html, str) else html
    packed = said.get(_RTF)
    if not html and isinstance(packed, bytes):
        rich = richtext.rtf("body.rtf", outlook.unpacked(packed)).text
        plain = rich if len(rich.split()) >= len(plain.split()) else plain
    message.set_content(plain)
    if html:
        message.add_alternative(html, "text", "html")
    for each in attachments:
        name = _string(each.properties.get(_LONG_NAME)) or _string(each.properties.get(_NAME)) or each.name
        content = each.content or each.properties.get(_CONTENT, b"")
        content = content.encode() if isinstance(content, str) else content
        if content[16:20] == SIGNATURE:  # a message within the message, behind the number of its interface
            content, name = content[16:], f"{name}.tnef"
        message.add_attachment(content, "application", "octet-stream", filename=" ".join(name.split()) or "attachment")
    return message


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """What the file is made of. One that breaks off is read as far as it goes."""
    if not content.startswith(SIGNATURE):
        raise CorruptDocument("this is no winmail.dat: it does not begin as one")
    at = 6
    while at + 9 <= len(content):
        _, number, _, size = struct.unpack_from("<BHHI", content, at)
        at += 9
        if at + size > len(content):
            return
        yield number, content[at : at + size]
        at += size + 2


def _properties(data: bytes, codec: str) -> Iterator[tuple[int, bytes | str]]:
    """By their numbers, of those that are text or bytes."""
    (count,) = struct.unpack_from("<I", data)
    at = 4
    for _ in range(min(count, len(data) // 4)):
        kind, number = struct.unpack_from("<HH", data, at)
        at += 4
        if number >= 0x8000:
            at = _past_name(data, at)
        many, kind = bool(kind & 0x1000), kind & 0x0FFF
        if kind in _SIZES and not many:
            at += _SIZES[kind]
            continue
        values, at = struct.unpack_from("<I", data, at)[0], at + 4
        for _ in range(min(values, len(data) // 4)):
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            size = struct.unpack_from("<I", data, at)[0]
            raw = data[at + 4 : at + 4 + size]
            at += 4 + (size + 3) // 4 * 4
            if kind == _WIDE:
                yield number, raw.decode("utf-16-le", "replace").rstrip("\0")
            elif kind == _STRING:
                yield number, _text(raw, codec)
            elif kind in (_BINARY, _OBJECT):
                yield number, raw


def _past_name(data: bytes, at: int) -> int:
    """A property with a name of its own: a number, or text."""
    (kind,) = struct.unpack_from("<I", data, at + 16)
    if kind == 0:
        return at + 24
    (size,) = struct.unpack_from("<I", data, at + 20)
    return int(at + 24 + (size + 3) // 4 * 4)


def _text(data: bytes, codec: str) -> str:
    return data.decode(codec, "replace").rstrip("\0")


def _string(value: bytes | str | None) -> str:
    return value if isinstance(value, str) else ""
