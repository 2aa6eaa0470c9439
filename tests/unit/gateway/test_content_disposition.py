"""The name of an uploaded file is the one that its sender meant, however the client writes it."""

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.content_disposition import read_disposition


def words(name: str, charset: str = "utf-8") -> str:
    return f"=?{charset}?B?{base64.b64encode(name.encode(charset)).decode()}?="


def quoted(name: str) -> str:
    """Quoted-printable, in words of 20 bytes."""
    raw = [f"={byte:02X}" for byte in name.encode()]
    return " ".join(f"=?UTF-8?Q?{''.join(raw[at : at + 20])}?=" for at in range(0, len(raw), 20))


WAYS: dict[str, Callable[[str], str]] = {
    "a browser, and newer httpx": lambda name: f'filename="{name.replace(chr(34), "%22")}"',
    "older requests": lambda name: f"filename*=utf-8''{quote(name, safe='')}",
    ".NET": lambda name: f"filename=\"{words(name)}\"; filename*=utf-8''{quote(name, safe='')}",
    "quoted words": lambda name: f'filename="{quoted(name)}"',
    "upper case, a language and quotes": lambda name: f"FileName*=\"UTF-8'de'{quote(name, safe='')}\"",
    "the other order": lambda name: f"filename*=UTF-8''{quote(name, safe='')}; filename=\"fallback.txt\"",
}


@pytest.mark.parametrize("way", WAYS)
@given(st.text(st.sampled_from('abcXYZ 0123.,-_()[]&+äöüßéŁЖ報告書🙂"'), min_size=1, max_size=40))
def test_a_name_comes_through(way: str, given_name: str) -> None:
    name = f"a{given_name}.txt"
    header = f'form-data; name="file"; {WAYS[way](name)}'
    assert read_disposition(header.encode()) == ("file", name)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"form-data; name=file; filename=plain.txt", ("file", "plain.txt")),
        (b'form-data; name="file"', ("file", None)),
        (b'form-data; name="a; filename*=x"; filename="b.txt"', ("a; filename*=x", "b.txt")),
        (b"form-data; name=file; filename*=iso-8859-1''%A3.txt", ("file", "£.txt")),
        (b"form-data; name=file; filename=\"right.txt\"; filename*=utf-8''%FF.txt", ("file", "right.txt")),
        (b"form-data; name=file; filename*=nonsense''a%20b.txt", ("file", "a b.txt")),
        (b'form-data; name="file"; filename="Gr\xf6\xdfe.txt"', ("file", "Größe.txt")),
        (b'form-data; name="file"; filename="=?nonsense?B?!!!?="', ("file", "=?nonsense?B?!!!?=")),
        (b'form-data; name="file"; filename="50%.txt"', ("file", "50%.txt")),
        (b"attachment; filename=x", (None, None)),
        (b"form-data; filename=x", (None, None)),
    ],
)
def test_odd_headers(header: bytes, expected: tuple[str | None, str | None]) -> None:
    assert read_disposition(header) == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_read(junk: bytes) -> None:
    name, filename = read_disposition(b"form-data; name=file; filename" + junk)
    assert name is not None
    assert filename is None or isinstance(filename, str)
