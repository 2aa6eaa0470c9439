"""Archives in which office programs keep their documents, looked at before anything unpacks them."""

import zipfile
from io import BytesIO
from typing import Any

from gateway.knowledge.documents import CorruptDocument, EncryptedDocument, OversizedDocument

MAX_UNPACKED = 512 * 1024 * 1024
"""Bytes of all members of an archive together."""

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a compound file begins: one of before 2007, or a later one with a password."""


def checked(name: str, content: bytes) -> bytes:
    """The content, once its archive is known to unpack to a bearable size."""
    if content.startswith(OLE):
        raise EncryptedDocument(f"{name} needs a password, or is of an older format than its name says; save it anew")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            locked = any(member.flag_bits & 1 for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptDocument(f"{name} is damaged: {error}") from error
    if locked:
        raise EncryptedDocument(f"{name} needs a password; save it without one")
    if unpacked > MAX_UNPACKED:
        raise OversizedDocument(
            f"{name} unpacks to {unpacked >> 20} MiB, the limit is {MAX_UNPACKED >> 20} MiB; split it"
        )
    return content


def fault(name: str, error: Exception) -> CorruptDocument:
    """What is said of a file on which a library failed."""
    return CorruptDocument(f"{name} is damaged, or not what its name says: {type(error).__name__}: {str(error)[:200]}")


def xml(content: bytes) -> Any:
    """The root of an XML document. Entities stay as they are: some unfold to gigabytes, some name files of this machine."""
    from lxml import etree

    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
