"""Outlook's messages (.msg, .oft), by olefile: made an ordinary message, which mail.py reads.

The names of streams are those of MAPI's properties (MS-OXMSG, MS-OXPROPS): four digits of the property, four of its type.
"""

import email.policy
import re
import struct
from datetime import UTC, datetime, timedelta
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.utils import format_datetime
from io import BytesIO
from typing import TYPE_CHECKING

from gateway.knowledge.converters import mail, richtext
from gateway.knowledge.converters.archives import fault
from gateway.knowledge.documents import CorruptDocument, Document, DocumentError

if TYPE_CHECKING:
    from olefile import OleFileIO

_HEADERS = {"Subject": "0037", "To": "0E04", "Cc": "0E03", "Bcc": "0E02"}
_SENDER, _ADDRESSES = "0C1A", ("5D01", "0C1F")
_BODY, _HTML, _RTF = "1000", "1013", "1009"
_DATES = (0x0039, 0x0E06)
"""When it was sent, and when it came in: 100 ns since 1601."""
_FILE_NAMES, _DATA, _MESSAGE = ("3707", "3704", "3001"), "3701", "3701000D"
_PROPERTIES = "__properties_version1.0"
_MAX_DEPTH = 5
"""Messages within messages that are looked into; mail.py reads fewer."""
_MAX_BYTES = 256 * 1024 * 1024
"""Of a body or an attachment, unpacked."""

_REGISTRY = HeaderRegistry()
for _header in ("to", "cc", "bcc", "from", "date"):
    _REGISTRY.map_to_type(_header, UnstructuredHeader)  # type: ignore[arg-type]  # typeshed wants a base that it has not
_AS_WRITTEN = email.policy.default.clone(header_factory=_REGISTRY)
"""Outlook names people without their addresses, with semicolons between them."""


def msg(name: str, content: bytes, convert: mail.Convert) -> Document:
    """One message with its head, the richer of its bodies, and attachments."""
    import olefile

    try:
        with olefile.OleFileIO(BytesIO(content)) as file:
            if not file.exists(_PROPERTIES):
                raise CorruptDocument(f"{name} is no message of Outlook")
            message = _Folder(file, ()).message(0)
        return mail.of_message(name, message, convert)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # whatever olefile and the standard library raise on damaged files
        raise fault(name, error) from error


class _Folder:
    """A message in the file: the outermost, or one that is attached."""

    def __init__(self, file: "OleFileIO", place: tuple[str, ...]) -> None:
        self._file = file
        self._place = place

    def message(self, depth: int) -> EmailMessage:
        """As an ordinary one."""
        made = EmailMessage(_AS_WRITTEN)
        for header, number in _HEADERS.items():
            made[header] = _one_line(self._text(number))
        address = next(filter(lambda each: "@" in each, map(self._text, _ADDRESSES)), "")
        made["From"] = _one_line(f"{self._text(_SENDER)} <{address}>" if address else self._text(_SENDER))
        if date := self._date():
            made["Date"] = format_datetime(date)
        self._fill(made)
        for folder in self._attachments():
            folder.attach(made, depth)
        return made

    def _fill(self, made: EmailMessage) -> None:
        plain = self._text(_BODY)
        html = self._bytes(f"{_HTML}0102")
        if not html and (text := self._text(_HTML)):
            html = text.encode()
        if not plain and not html and (packed := self._bytes(f"{_RTF}0102")):
            plain = richtext.rtf("body.rtf", unpacked(packed)).text
        made.set_content(plain)
        if html:
            made.add_alternative(html, "text", "html")
            if charset := re.search(rb"charset=[\"']?([\w-]{1,40})", html[:4096]):
                made.get_payload()[-1].set_param("charset", charset[1].decode("ascii"))  # type: ignore[union-attr, index]

    def attach(self, made: EmailMessage, depth: int) -> None:
        """Put what is in this folder of an attachment into the message."""
        inner = (*self._place, f"__substg1.0_{_MESSAGE}")
        if self._file.exists("/".join(inner)) and depth < _MAX_DEPTH:
            made.add_attachment(_Folder(self._file, inner).message(depth + 1))
            return
        filename = next(filter(None, map(self._text, _FILE_NAMES)), "attachment")
        made.add_attachment(self._bytes(f"{_DATA}0102"), "application", "octet-stream", filename=_one_line(filename))

    def _attachments(self) -> "list[_Folder]":
        depth = len(self._place)
        names = {
            tuple(path[: depth + 1])
            for path in self._file.listdir()
            if tuple(path[:depth]) == self._place and path[depth].startswith("__attach_version1.0_")
        }
        return [_Folder(self._file, place) for place in sorted(names)]

    def _text(self, number: str) -> str:
        if wide := self._bytes(f"{number}001F"):
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        return _decoded(self._bytes(f"{number}001E")).rstrip("\0")

    def _bytes(self, number: str) -> bytes:
        path = "/".join((*self._place, f"__substg1.0_{number}"))
        if not self._file.exists(path):
            return b""
        if self._file.get_size(path) > _MAX_BYTES:
            raise CorruptDocument(f"a part of the message says that it has more than {_MAX_BYTES >> 20} MiB")
        return bytes(self._file.openstream(path).read())

    def _date(self) -> datetime | None:
        path = "/".join((*self._place, _PROPERTIES))
        if not self._file.exists(path):
            return None
        raw = self._file.openstream(path).read()
        found = {}
        for at in range(24 if self._place else 32, len(raw) - 15, 16):
            kind, number, _, value = struct.unpack_from("<HHIQ", raw, at)
            if kind == 0x40 and number in _DATES:
                found[number] = value
        for number in _DATES:
            if 0 < found.get(number, 0) < 2**60:
                return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=found[number] // 10)
        return None


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _one_line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())


_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbol"
    rb"ArialTimes New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n" + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def unpacked(packed: bytes) -> bytes:
    """RTF as Outlook packs it (MS-OXRTFCP). Raises CorruptDocument."""
    if len(packed) < 16:
        raise CorruptDocument("the packed text of the message breaks off")
    _, size, kind, _ = struct.unpack_from("<IIII", packed)
    if kind == 0x414C454D:  # MELA: it is not packed
        return packed[16 : 16 + size]
    if kind != 0x75465A4C or size > _MAX_BYTES:  # LZFu
        raise CorruptDocument("the text of the message is packed in an unknown way")
    window = bytearray(_DICTIONARY.ljust(4096, b"\0"))
    write, made, at = len(_DICTIONARY), bytearray(), 16
    while at < len(packed):
        control, at = packed[at], at + 1
        for bit in range(8):
            if at >= len(packed):
                break
            if not control >> bit & 1:
                taken, at = packed[at : at + 1], at + 1
                window[write], write = taken[0], (write + 1) % 4096
                made += taken
                continue
            place, length = divmod(int.from_bytes(packed[at : at + 2], "big"), 16)
            at += 2
            if place == write:
                return bytes(made[:size])
            for offset in range(length + 2):
                char = window[(place + offset) % 4096]
                window[write], write = char, (write + 1) % 4096
                made.append(char)
    return bytes(made[:size])
