"""One call that is written as a JSON object, `{"name": "f", "arguments": {…}}`, read as it comes."""

import enum
import json
import string
from collections.abc import Callable, Collection, Generator

from gateway.serving.tools import ArgumentsPiece, CallBegun, ParsedPiece

Reading = Generator[None, str, None]
"""A reader that is sent one character after the other."""

_ARGUMENTS = ("arguments", "parameters")
_KEYS = frozenset({"name", "type", "id", *_ARGUMENTS})


class CallState(enum.Enum):
    """Of a call that is being read."""

    OPEN = enum.auto()
    DONE = enum.auto()
    NO_CALL = enum.auto()
    """What is written here is no call."""


class _NoCallError(Exception):
    pass


class JsonCall:
    """Reads one object. The call is announced when its name is known and its arguments begin."""

    def __init__(self, names: Collection[str] | None = None, *, name: str = "") -> None:
        """names: an object that names another function is no call. None: whatever it names is one.

        name: of the function, where it stands before the object, which then is the arguments alone.
        """
        self._names = names
        self._name = name
        self._read = ""
        self._arguments = ""
        self._found: list[ParsedPiece] = []
        self._begun = False
        self._pushed_back = ""
        self.state = CallState.OPEN
        self._reader = self._read_arguments() if name else self._read_object()
        next(self._reader)

    def push(self, text: str) -> tuple[list[ParsedPiece], str]:
        """What this piece adds, and what of it stands behind the call. Of what is no call, all that was read is given back."""
        at = 0
        try:
            for char in text:
                at += 1
                self._reader.send(char)
        except StopIteration:
            self.state = CallState.DONE
        except _NoCallError:
            self.state = CallState.NO_CALL
            return [], self._read + text
        if not self._begun:
            self._read += text[:at]
        self._tell()
        found, self._found = self._found, []
        return found, text[at:]

    @property
    def announced(self) -> bool:
        """Whether the client knows of it."""
        return self._begun

    def _tell(self) -> None:
        if self._begun and self._arguments:
            self._found.append(ArgumentsPiece(self._arguments))
            self._arguments = ""

    def _announce(self) -> None:
        if not self._begun and self._name:
            self._begun = True
            self._found.append(CallBegun(self._name))

    def _read_object(self) -> Reading:
        if (yield from self._visible()) != "{":
            raise _NoCallError
        while (char := (yield from self._visible())) != "}":
            if char == ",":
                continue
            key = yield from self._read_key(char)
            if key in _ARGUMENTS:
                yield from self._read_arguments()
                continue
            value: list[str] = []
            yield from self._read_value((yield from self._visible()), value.append)
            if key == "name":
                self._name = self._known("".join(value))
                if self._arguments:
                    self._announce()
        if not self._begun:
            self._arguments = self._arguments or "{}"
            self._announce()
        if not self._begun:
            raise _NoCallError

    def _read_key(self, char: str) -> Generator[None, str, str]:
        if char != '"':
            raise _NoCallError
        key = ""
        while (char := (yield)) != '"':
            key += char
            if not self._begun and len(key) > 16:
                raise _NoCallError
        if key not in _KEYS and not self._begun:
            raise _NoCallError
        if (yield from self._visible()) != ":":
            raise _NoCallError
        return key

    def _known(self, value: str) -> str:
        try:
            name = json.loads(value)
        except ValueError:
            raise _NoCallError from None
        if not isinstance(name, str) or not name or (self._names is not None and name not in self._names):
            raise _NoCallError
        return name

    def _read_arguments(self) -> Reading:
        first = yield from self._visible()
        if first == "{":
            self._announce()
            yield from self._read_value(first, self._keep)
            return
        value: list[str] = []  # JSON within a string, or null
        yield from self._read_value(first, value.append)
        try:
            inner = json.loads("".join(value))
        except ValueError:
            raise _NoCallError from None
        self._keep(inner if isinstance(inner, str) and inner.strip() else "{}")
        self._announce()

    def _keep(self, text: str) -> None:
        self._arguments += text

    def _visible(self) -> Generator[None, str, str]:
        """The next character that is no white space."""
        char, self._pushed_back = self._pushed_back, ""
        while not char or char in string.whitespace:
            char = yield
        return char

    def _read_value(self, char: str, keep: Callable[[str], None]) -> Reading:
        """A value that begins with `char`, to its end."""
        if char in ",:]}":
            raise _NoCallError
        depth, in_string = 0, False
        while True:
            keep(char)
            if in_string:
                if char == "\\":
                    keep((yield))
                elif char == '"':
                    in_string = False
            elif char == '"':
                in_string = True
            elif char in "{[":
                depth += 1
            elif char in "]}":
                depth -= 1
            if depth == 0 and not in_string and char in '"]}':
                return
            char = yield
            if depth == 0 and not in_string and (char in ",]}" or char in string.whitespace):
                self._pushed_back = char  # behind a number or a word
                return
