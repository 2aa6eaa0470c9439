"""Compound files (OLE, MS-CFB), as programs before 2007 wrote them: streams in folders."""

import struct
from collections.abc import Mapping
from typing import Any

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SECTOR, _SMALL, _CUTOFF = 512, 64, 4096


def compound_file(root: Mapping[str, Any]) -> bytes:
    """The file; a value is the content of a stream, or the mapping of a folder."""
    entries: list[list[Any]] = [["Root Entry", 5, _FREE, _FREE, _END, b""]]  # name, kind, right, child, start, content
    _add(entries, 0, root)
    small, chains = bytearray(), []
    for entry in entries[1:]:
        if entry[1] == 2 and 0 < len(entry[5]) < _CUTOFF:
            first, count = len(small) // _SMALL, -(-len(entry[5]) // _SMALL)
            entry[4] = first
            chains += [*range(first + 1, first + count), _END]
            small += entry[5].ljust(count * _SMALL, b"\0")
    sectors: list[bytes] = []
    fat: list[int] = []

    def put(content: bytes) -> int:
        if not content:
            return _END
        first, count = len(sectors), -(-len(content) // _SECTOR)
        sectors.extend(content[at : at + _SECTOR].ljust(_SECTOR, b"\0") for at in range(0, count * _SECTOR, _SECTOR))
        fat.extend([*range(first + 1, first + count), _END])
        return first

    for entry in entries[1:]:
        if entry[1] == 2 and len(entry[5]) >= _CUTOFF:
            entry[4] = put(entry[5])
    entries[0][4], entries[0][5] = put(bytes(small)), bytes(small)
    small_fat = put(
        b"".join(struct.pack("<I", each) for each in chains).ljust(-(-4 * len(chains) // 512) * 512, b"\xff")
    )
    small_sectors = -(-4 * len(chains) // _SECTOR)
    directory = put(b"".join(map(_entry, entries)).ljust(-(-len(entries) * 128 // 512) * 512, b"\0"))
    of_fat = 1
    while of_fat * 128 < len(fat) + of_fat:
        of_fat += 1
    first_fat = len(sectors)
    fat += [_FAT] * of_fat
    raw = b"".join(struct.pack("<I", each) for each in fat).ljust(of_fat * _SECTOR, b"\xff")
    sectors += [raw[at : at + _SECTOR] for at in range(0, len(raw), _SECTOR)]
    head = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, of_fat, directory, 0, _CUTOFF,
        small_fat, small_sectors, _END, 0,
    )  # fmt: skip
    blocks = [first_fat + number if number < of_fat else _FREE for number in range(109)]
    return head + struct.pack("<109I", *blocks) + b"".join(sectors)


def _add(entries: list[list[Any]], parent: int, members: Mapping[str, Any]) -> None:
    before = None
    for name, value in members.items():
        folder = isinstance(value, Mapping)
        entries.append([name, 1 if folder else 2, _FREE, _FREE, 0 if folder else _END, b"" if folder else value])
        number = len(entries) - 1
        if before is None:
            entries[parent][3] = number
        else:
            entries[before][2] = number
        before = number
        if folder:
            _add(entries, number, value)


def _entry(entry: list[Any]) -> bytes:
    name, kind, right, child, start, content = entry
    wide = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII36xIQ", wide, len(wide), kind, 1, _FREE, right, child, start, len(content))
