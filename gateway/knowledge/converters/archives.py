"""Archives in which office programs keep their documents, looked at before anything unpacks them."""

import re
import zipfile
import zlib
from io import BytesIO
from typing import Any

from gateway.knowledge.documents import CorruptDocument, EncryptedDocument, OversizedDocument

MAX_UNPACKED = 512 * 1024 * 1024
"""Bytes of all members of an archive together."""

_RELATIONS = "_rels/.rels"
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w{1,40})/")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a compound file begins: one of before 2007, or a later one with a password."""


def checked(name: str, content: bytes) -> bytes:
    """The content, once its archive is known to unpack to a bearable size; an Office document as most libraries know it."""
    if content.startswith(OLE):
        raise EncryptedDocument(f"{name} needs a password, or is of an older format than its name says; save it anew")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            locked = any(member.flag_bits & 1 for member in archive.infolist())
            known = not locked and unpacked <= MAX_UNPACKED and _is_known(archive)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptDocument(f"{name} is damaged: {error}") from error
    if locked:
        raise EncryptedDocument(f"{name} needs a password; save it without one")
    if unpacked > MAX_UNPACKED:
        raise OversizedDocument(
            f"{name} unpacks to {unpacked >> 20} MiB, the limit is {MAX_UNPACKED >> 20} MiB; split it"
        )
    return content if known else _made_known(name, content)


def _is_known(archive: zipfile.ZipFile) -> bool:
    names = archive.namelist()
    return not any("\\" in member.orig_filename for member in archive.infolist()) and not (
        _RELATIONS in names and _STRICT.search(archive.read(_RELATIONS))
    )


def _made_known(name: str, content: bytes) -> bytes:
    """With slashes in the names of its members (.NET wrote backslashes once), and the names of the transitional form of Office
    Open XML in place of those of the strict one: these differ in nothing else that is text."""
    out = BytesIO()
    try:
        with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for member in old.infolist():
                data = old.read(member)
                if member.filename.endswith((".xml", ".rels")):
                    data = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", data)
                new.writestr(member.filename.replace("\\", "/"), data)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError) as error:
        raise fault(name, error) from error
    return out.getvalue()


def fault(name: str, error: Exception) -> CorruptDocument:
    """What is said of a file on which a library failed."""
    return CorruptDocument(f"{name} is damaged, or not what its name says: {type(error).__name__}: {str(error)[:200]}")


def xml(content: bytes, *, recover: bool = False) -> Any:
    """The root of an XML document; with `recover` also of one that is not well-formed. Entities stay as they are: some unfold to
    gigabytes, some name files of this machine."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, recover=recover)
    return etree.fromstring(content, parser)
