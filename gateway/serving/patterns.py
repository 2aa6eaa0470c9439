"""Regular expressions of JSON Schemas, which are ECMAScript's, made those that engines read. No I/O.

Where ECMAScript and Python differ in what matches (`\\W`, `\\D`), what is made matches what both do.
"""

import re

_QUANTIFIER = re.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = re.compile(r"\(\?(?:[imsu]*:|P?<[A-Za-z_]\w*>)")
_FLAGS = re.compile(r"\(\?[imsu]+\)")
"""At the beginning; Python's."""
_LOOKING = re.compile(r"\(\?<?[=!]")
_HEX = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|[pP]\{[\w=]{1,64}\})")
_KEPT = frozenset("dwsStnrfv")
_NARROWED = {"D": r"[^\p{Nd}]", "W": r"[^\p{L}\p{N}_]"}
_OPERATORS = frozenset("[&~")


def followed(pattern: str) -> str:
    """The expression as an engine is given it. Raises ValueError, which says what of it cannot be followed."""
    return _PatternReading(pattern).read()


class _PatternReading:
    """From left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._made: list[str] = []

    def read(self) -> str:
        depth = 0
        if flags := _FLAGS.match(self._pattern):
            self._take(len(flags[0]))
        while self._at < len(self._pattern):
            one = self._pattern[self._at]
            if one == "\\":
                self._escape()
            elif one == "[":
                self._class()
            elif one == "(":
                self._group()
                depth += 1
            elif one == ")":
                depth -= 1
                if depth < 0:
                    raise ValueError("a bracket is closed that was not opened")
                self._take(1)
            elif one == "{":
                self._braces()
            elif one in "}]":
                self._take(1, f"\\{one}")
            else:
                self._take(1)
        if depth:
            raise ValueError("a bracket is not closed")
        return "".join(self._made)

    def _take(self, length: int, made: str | None = None) -> None:
        self._made.append(self._pattern[self._at : self._at + length] if made is None else made)
        self._at += length

    def _group(self) -> None:
        if self._pattern[self._at + 1 : self._at + 2] != "?":
            self._take(1)
        elif _LOOKING.match(self._pattern, self._at):
            raise ValueError("look-around and back-references cannot be followed")
        elif found := _GROUP.match(self._pattern, self._at):
            self._take(len(found[0]))
        else:
            raise ValueError("there is no such kind of group")

    def _braces(self) -> None:
        if found := _QUANTIFIER.match(self._pattern, self._at):
            self._take(len(found[0]))
        elif re.match(r"\{,\d+\}", self._pattern[self._at :]):
            raise ValueError("how often at least? Write {0,n} in place of {,n}")
        else:
            self._take(1, r"\{")

    def _class(self) -> None:
        self._take(2 if self._pattern.startswith("[^", self._at) else 1)
        if self._pattern.startswith("]", self._at):
            raise ValueError("a class of characters is empty")
        while self._at < len(self._pattern):
            one = self._pattern[self._at]
            if one == "]":
                self._take(1)
                return
            if one == "\\":
                self._escape(within=True)
            elif self._pattern.startswith("--", self._at):
                raise ValueError(r"within a class write \- for a hyphen")
            else:
                self._take(1, f"\\{one}" if one in _OPERATORS else None)
        raise ValueError("a class of characters is not closed")

    def _escape(self, *, within: bool = False) -> None:
        """within: a class."""
        if found := _HEX.match(self._pattern, self._at):
            return self._take(len(found[0]))
        one = self._pattern[self._at + 1 : self._at + 2]
        if not one:
            raise ValueError("a backslash stands at the end")
        if one in _NARROWED:
            return self._take(2, _NARROWED[one])
        if one == "b" and within:
            return self._take(2, r"\x08")
        if one in _KEPT:
            return self._take(2)
        if one in "123456789k":
            raise ValueError("look-around and back-references cannot be followed")
        if one.isascii() and one.isalnum():
            raise ValueError(f"\\{one} cannot be followed")
        return self._take(2, one if one in "<>" or not one.isascii() or one.isspace() else None)
