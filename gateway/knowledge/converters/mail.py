"""Mail and saved pages (MIME): headers, the text, and what is attached, each by its own converter."""

import base64
import binascii
import contextlib
import email
import email.policy
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.message import EmailMessage, MIMEPart
from pathlib import PurePath

from gateway.knowledge.converters.archives import fault
from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.markup import of_html, tidy
from gateway.knowledge.documents import Document, DocumentError, Skipped
from gateway.knowledge.normalization import clean

Convert = Callable[[str, bytes], Document]

_HEADERS = ("From", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject")
_MAX_HEADER, _MAX_PARAMETERS = 100_000, 4_000
"""Characters of a header, and of one with parameters (`Content-Type`): the standard library reads encoded words in the square of
their number, and a parameter in half a millisecond."""
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n|\r\r")
_MAX_DEPTH = 3
"""Messages within messages that are read."""
_MAX_ATTACHMENTS = 100
_MAX_PARTS = 10_000
"""Of one message that are read."""
_ENDINGS = {"calendar": "ics", "markdown": "md", "x-vcard": "vcf", "vcard": "vcf", "x-markdown": "md", "x-log": "log"}
"""Of files, by the kinds of parts without a name that are called otherwise."""
_BODIES = frozenset({"text/plain", "text/html", "text/enriched", "text/richtext"})
_ENRICHED = re.compile(r"<<|</?[a-zA-Z][a-zA-Z-]{0,60}>")
_UUENCODED = re.compile(
    r"^begin [0-7]{3,4} (?P<name>[^\n]{1,255})\n(?P<lines>(?:[!-`][ -`]{0,90}\n)+)[ `]?\n?end[ \r]*$", re.MULTILINE
)
_NO_BASE64 = re.compile(rb"\w[ \t]+\w+[ \t]+\w|[\x80-\xff]")
"""Words with blanks between, or letters that no such code has."""
_NO_LETTER_OF_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_FROM_LINE = re.compile(rb"^From [^\n]*\d\d?:\d\d[^\n]*\d{4}[^\n]{0,40}\r?\n(?=[!-9;-~]{1,76}:|>?From )", re.MULTILINE)
"""What parts the mails of a folder: it has a time, and a header follows; a sentence may begin so, too."""
_KNOWN_HEADER = re.compile(
    rb"^(?:from|to|cc|date|subject|received|return-path|message-id|mime-version|content-[a-z-]+|reply-to|sender|x-[\w-]+)[ \t]*:",
    re.MULTILINE | re.IGNORECASE,
)


class _BoundedHeaders(email.policy.EmailPolicy):
    """Of headers that are too long the beginning; each is parsed once, and not each time that it is asked for (nine times of a
    part, which took a millisecond)."""

    def header_source_parse(self, sourcelines: Sequence[str]) -> tuple[str, str]:
        """See EmailPolicy."""
        name, value = super().header_source_parse(list(sourcelines))
        return name, value[: _MAX_PARAMETERS if name.lower().startswith("content-") else _MAX_HEADER]

    def header_fetch_parse(self, name: str, value: str) -> str:
        """See EmailPolicy."""
        return _parsed(name, value)


@functools.lru_cache(maxsize=1024)
def _parsed(name: str, value: str) -> str:
    parsed: str = email.policy.default.header_fetch_parse(name, value)
    return parsed


_POLICY = _BoundedHeaders()


def eml(name: str, content: bytes, convert: Convert, depth: int = 0) -> Document:
    """One message. `convert` is what attachments are read with."""
    try:
        message = email.message_from_bytes(_with_head(_readable_head(name, content)), policy=_POLICY)
        assert isinstance(message, EmailMessage)
        return _MailReading(name, convert, depth).read(message)
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # the standard library raises what it likes on odd headers
        raise fault(name, error) from error


def of_message(name: str, message: EmailMessage, convert: Convert) -> Document:
    """A message that was read from another format (outlook.py)."""
    return _MailReading(name, convert, 0).read(message)


def mbox(name: str, content: bytes, convert: Convert) -> Document:
    """A folder of messages."""
    messages = [part for part in _FROM_LINE.split(content) if part.strip()]
    made = [eml(name, part, convert) for part in messages]
    skipped = tuple(each for document in made for each in document.skipped)
    return Document(tidy("\n\n".join(each.text for each in made)), PurePath(name).stem, "markdown", skipped=skipped)


class _MailReading:
    """What is gathered of one message."""

    def __init__(self, name: str, convert: Convert, depth: int) -> None:
        self._name = name
        self._convert = convert
        self._depth = depth
        self._attached: list[str] = []
        self._attachments = self._replaced = self._parts = 0
        self._skipped: list[Skipped] = []

    def read(self, message: EmailMessage) -> Document:
        """Headers, body, attachments, in this order."""
        headers = {key: _header(message, key) for key in _HEADERS}
        cut = [key for key, value in message.raw_items() if key.title() in _HEADERS and len(value) == _MAX_HEADER]
        self._skipped += [Skipped(f"header {key}", "only its beginning is read") for key in cut]
        title = headers.pop("Subject") or PurePath(self._name).stem
        lines = "".join(f"- {key}: {value}\n" for key, value in headers.items() if value)
        text = "\n\n".join([f"# {title}", lines, self._body(message), *self._attached])
        return Document(tidy(text), title, "markdown", replaced=self._replaced, skipped=tuple(self._skipped))

    def _body(self, part: MIMEPart) -> str:
        kind, filename = part.get_content_type(), part.get_filename()
        if kind in ("message/rfc822", "message/external-body", "message/delivery-status"):
            return self._message(part, kind, filename)
        if part.is_multipart():
            texts = [self._body(each) for each in self._first(part.iter_parts())]
            if kind == "multipart/alternative":  # the last one is the richest, unless it is a stub
                return _richest(texts)
            return "\n\n".join(filter(str.strip, texts))
        content = _payload(part)
        if (
            kind in ("text/plain", "text/html", "text/enriched", "text/richtext")
            and part.get_content_disposition() != "attachment"
        ):
            return self._text(part, kind, content)
        if part.get_content_maintype() in ("image", "audio", "video", "font") or kind == "text/css":
            self._skipped.append(Skipped(filename or kind, "pictures, sound and styles in a message are not read"))
        else:
            ending = PurePath(kind).name
            self._attach(filename or f"part{ending and '.' + _ENDINGS.get(ending, ending)}", content)
        return ""

    def _message(self, part: MIMEPart, kind: str, filename: str | None) -> str:
        """A part that the parser makes messages of."""
        if kind == "message/delivery-status":  # groups of headers
            return "\n\n".join(str(each).strip() for each in part.iter_parts())
        if kind == "message/rfc822":
            self._attach(f"{filename or 'message'}.eml", _inner(part))
        else:
            place = part.get_param("url") or part.get_param("name") or part.get_param("access-type") or "elsewhere"
            self._skipped.append(Skipped(f"part at {place}", "it is not in the message"))
        return ""

    def _first(self, parts: Iterable[MIMEPart]) -> Iterator[MIMEPart]:
        """Those that are read."""
        for part in parts:
            self._parts += 1
            if self._parts > _MAX_PARTS:
                if self._parts == _MAX_PARTS + 1:
                    self._skipped.append(Skipped("parts of the message", f"only the first {_MAX_PARTS:,} are read"))
                return
            yield part

    def _text(self, part: MIMEPart, kind: str, content: bytes) -> str:
        try:
            decoded = decode(self._name, content, part.get_content_charset())
        except DocumentError as error:
            self._skipped.append(Skipped("text of the message", str(error)))
            return ""
        text = decoded.text
        self._replaced += decoded.replaced
        if kind == "text/html":
            return of_html(text, self._name).text
        if kind != "text/plain":  # with <bold> and the like, and << for a bracket
            text = _ENRICHED.sub(lambda tag: "<" if tag[0] == "<<" else "", text)
        text = _UUENCODED.sub(self._uuencoded, text)
        if part.get_param("format") == "flowed":
            text = re.sub(r" \r?\n", "" if str(part.get_param("delsp")).lower() == "yes" else " ", text)
        return clean(text)

    def _uuencoded(self, found: re.Match[str]) -> str:
        """Attach what old programs wrote into the text. What is no such code stays there."""
        with contextlib.suppress(ValueError):  # binascii's is one
            lines = found["lines"].encode("ascii").splitlines()
            self._attach(PurePath(found["name"].strip()).name or "part", b"".join(map(binascii.a2b_uu, lines)))
            return ""
        return found[0]

    def _attach(self, name: str, content: bytes) -> None:
        self._attachments += 1
        where = f"attachment {name}"
        if self._depth >= _MAX_DEPTH or self._attachments > _MAX_ATTACHMENTS:
            self._skipped.append(Skipped(where, "it is nested too deep, or one of too many"))
            return
        try:
            nested = name.lower().endswith(".eml")
            made = eml(name, content, self._convert, self._depth + 1) if nested else self._convert(name, content)
        except DocumentError as error:
            self._skipped.append(Skipped(where, str(error)))
            return
        self._attached.append(f"## Attachment: {name}\n\n{made.text}")
        self._skipped += [Skipped(f"{where}: {each.part}", each.reason) for each in made.skipped]


def _payload(part: MIMEPart) -> bytes:
    """The content of a part as its encoding says, or as it is where that cannot be so: some only say that it is base64."""
    if str(part.get("content-transfer-encoding", "")).strip().lower() != "base64" or part.is_multipart():
        payload = part.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else b""
    raw = str(part.get_payload()).encode("utf-8", "surrogateescape")
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except ValueError:
        if _NO_BASE64.search(raw):
            return raw
    code = _NO_LETTER_OF_BASE64.sub(b"", raw)
    code = code[:-1] if len(code) % 4 == 1 else code  # it was cut off
    return base64.b64decode(code + b"=" * (-len(code) % 4))


def _richest(texts: list[str]) -> str:
    """The last of several forms of a text is the richest, unless it is a stub; with what another one alone says, if that is most
    of it: programs write what they like into the form that nobody looks at, and some tell two stories."""
    longest = max((len(text.split()) for text in texts), default=0)
    found = next((text for text in reversed(texts) if len(text.split()) >= longest * 0.8), "")
    for text in texts:
        words = set(re.findall(r"\w+", text))
        if len(words - set(re.findall(r"\w+", found))) > 0.3 * len(words):
            found = f"{found}\n\n{text}"
    return found


def _readable_head(name: str, content: bytes) -> bytes:
    """Headers ought to be ASCII, may be UTF-8, and were written in whatever the sender's machine had."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    end = _END_OF_HEAD.search(content)
    head = content[: end.start()] if end else content
    try:
        head.decode()
    except UnicodeDecodeError:
        with contextlib.suppress(DocumentError):  # it is no text at all: whatever can be read of it is
            return decode(name, head).text.encode() + content[len(head) :]
    return content


def _with_head(content: bytes) -> bytes:
    """A text that is no mail, whatever its name says, has no headers: none of its lines are to be taken for one."""
    end = _END_OF_HEAD.search(content)
    head = re.sub(rb"\r\n?", b"\n", content[: end.start()] if end else content)
    return content if _KNOWN_HEADER.search(head) else b"\n" + content


def _header(message: EmailMessage, key: str) -> str:
    try:
        return " ".join(clean(", ".join(map(str, message.get_all(key, ())))).split())
    except (ValueError, IndexError, AttributeError):  # of what is no header at all
        return ""


def _inner(part: MIMEPart) -> bytes:
    """The message in a part that is one."""
    inner = part.get_payload()
    if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64" and isinstance(inner, list):
        # Nobody may encode it, and some do: then the parser takes the code for the body of a message without a head.
        with contextlib.suppress(ValueError):
            return base64.b64decode(
                "".join(str(each.get_payload()) for each in inner if isinstance(each, EmailMessage))
            )
    return (
        b"".join(each.as_bytes() for each in inner if isinstance(each, EmailMessage))
        if isinstance(inner, list)
        else b""
    )
