"""A `multipart/form-data` body as it comes in: small fields, and one file that is passed on without being held in memory."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive

from gateway.api.content_disposition import read_disposition
from gateway.errors import BadRequest, PayloadTooLarge

MAX_FIELD_BYTES = 4096
MAX_FIELDS = 32


class ClientLeft(Exception):
    """The client closed the connection before its body was whole."""


@dataclass(slots=True)
class _Part:
    """A part whose head is known."""

    name: str
    filename: str | None
    value: bytearray = field(default_factory=bytearray)


class Form:
    """Reads one body. `open_file` gives the file's name once its part begins; the file is then read with `chunks`.

    Fields may stand before or behind the file: they are all known after `finish`. One whose name ends with `[]` may come again:
    its values are then joined by commas.
    """

    def __init__(self, content_type: str | None, receive: Receive, *, max_bytes: int, file_field: str = "file") -> None:
        """`max_bytes` bounds the file. Raises BadRequest for a body of another type."""
        self._file_field = file_field
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest(
                "Send the file as multipart/form-data.", param=self._file_field, code="invalid_content_type"
            )
        self._receive = receive
        self._max_bytes = max_bytes
        self._received = 0
        self._ended = False
        self.fields: dict[str, str] = {}
        self._field_count = 0
        self._head: dict[str, bytes] = {}
        self._head_name = bytearray()
        self._head_value = bytearray()
        self._part: _Part | None = None
        self._file: _Part | None = None
        self._file_ended = False
        self._closed = False
        self._data: deque[bytes] = deque()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise BadRequest(f"The form cannot be read: {error}", param=self._file_field, code="invalid_form") from None

    async def open_file(self) -> str:
        """Read up to the file; its name. Raises BadRequest where there is none, PayloadTooLarge, ClientLeft."""
        while self._file is None:
            if not await self._more():
                raise BadRequest(
                    f"Missing required parameter: '{self._file_field}'.",
                    param=self._file_field,
                    code="missing_required_parameter",
                )
        return self._file.filename or ""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes. Raises PayloadTooLarge past the limit, BadRequest where the form breaks off, ClientLeft."""
        while True:
            while self._data:
                yield self._data.popleft()
            if self._file_ended:
                return
            if not await self._more():
                raise BadRequest("The form breaks off in the file.", param=self._file_field, code="invalid_form")

    async def finish(self) -> Mapping[str, str]:
        """Read what is left; all fields. Raises as `chunks` does."""
        while await self._more():
            pass
        if not self._closed:
            raise BadRequest("The form has no end.", param=self._file_field, code="invalid_form")
        return self.fields

    async def _more(self) -> bool:
        """Take one piece of the body; False when there is none left."""
        if self._ended:
            return False
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        self._received += len(body)
        if self._received > self._max_bytes + MAX_FIELDS * 2 * MAX_FIELD_BYTES:
            raise _too_large(self._max_bytes, self._file_field)
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise BadRequest(f"The form cannot be read: {error}", param=self._file_field, code="invalid_form") from None
        return True

    # The parser's callbacks

    def _on_part_begin(self) -> None:
        self._head = {}
        self._part = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._head_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._head_value += data[start:end]

    def _on_header_end(self) -> None:
        self._head[self._head_name.decode("latin-1").lower()] = bytes(self._head_value)
        self._head_name.clear()
        self._head_value.clear()

    def _on_headers_finished(self) -> None:
        name, filename = read_disposition(self._head.get("content-disposition", b""))
        if name is None:
            raise BadRequest("A part of the form has no name.", param=self._file_field, code="invalid_form")
        part = _Part(name, filename)
        if name == self._file_field:
            encoding = self._head.get("content-transfer-encoding", b"").strip().lower()
            if encoding in (b"base64", b"quoted-printable"):
                how = f"The file is in {encoding.decode()}; send its bytes as they are."
                raise BadRequest(how, param=self._file_field, code="invalid_form")
            if filename is None:
                raise BadRequest(
                    f"'{self._file_field}' must be a file with a name.", param=self._file_field, code="invalid_value"
                )
            if self._file is not None:
                raise BadRequest("Send one file at a time.", param=self._file_field, code="invalid_value")
            self._file = part
        elif (name in self.fields and not name.endswith("[]")) or self._field_count >= MAX_FIELDS:
            raise BadRequest(f"'{name}' is given more than once.", param=name, code="invalid_value")
        else:
            self._field_count += 1
        self._part = part

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        assert part is not None
        if part is self._file:
            self._data.append(data[start:end])
            return
        part.value += data[start:end]
        if len(part.value) > MAX_FIELD_BYTES:
            raise BadRequest(f"'{part.name}' is too long.", param=part.name, code="invalid_value")

    def _on_part_end(self) -> None:
        part = self._part
        assert part is not None
        if part is self._file:
            self._file_ended = True
        else:
            value = part.value.decode("utf-8", "replace")
            self.fields[part.name] = f"{self.fields[part.name]},{value}" if part.name in self.fields else value

    def _on_end(self) -> None:
        self._closed = True


def _too_large(limit: int, param: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"The file is over the limit of {limit} bytes.", param=param)
