"""Office documents in a single XML file: as Word saves them today ("flat OPC"), and as Word 2003 did. Each becomes an archive."""

import base64
import binascii
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

from gateway.knowledge.converters.archives import fault, xml
from gateway.knowledge.documents import Document

FLAT = b"schemas.microsoft.com/office/2006/xmlpackage"
OF_2003 = b"schemas.microsoft.com/office/word/2003/wordml"
"""What stands at the beginning of such a file, in small letters."""

_PKG = "{http://schemas.microsoft.com/office/2006/xmlPackage}"
_OLD, _NEW = (
    "http://schemas.microsoft.com/office/word/2003/wordml",
    ("http://schemas.openxmlformats.org/wordprocessingml/2006/main"),
)
_AUXILIARY = "{http://schemas.microsoft.com/office/word/2003/auxHint}*"
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>{}</Types>'
)
_OVERRIDE = '<Override PartName="{}" ContentType="{}"/>'
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" Target="{}"/></Relationships>'
)


def flat(name: str, content: bytes, convert: Callable[[str, bytes], Document]) -> Document:
    """A package in one file. convert: what reads the archive, by its contents."""
    try:
        packed = _packed(xml(content))
    except (ValueError, SyntaxError, binascii.Error) as error:
        raise fault(name, error) from error
    return convert(name, packed)


def of_2003(name: str, content: bytes, convert: Callable[[str, bytes], Document]) -> Document:
    """Word 2003: nearly what is in an archive of today."""
    try:
        packed = _packed_2003(xml(content.replace(_OLD.encode(), _NEW.encode())))
    except (ValueError, SyntaxError) as error:
        raise fault(name, error) from error
    return convert(name, packed)


def _packed(root: Any) -> bytes:
    from lxml import etree

    out = BytesIO()
    types = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in root.iter(f"{_PKG}part"):
            place = part.get(f"{_PKG}name") or "/unnamed"
            types.append(_OVERRIDE.format(place, part.get(f"{_PKG}contentType") or ""))
            data, binary = part.find(f"{_PKG}xmlData/*"), part.find(f"{_PKG}binaryData")
            if data is not None:
                data.tail = None
                archive.writestr(place.lstrip("/"), etree.tostring(data, xml_declaration=True, encoding="UTF-8"))
            elif binary is not None:
                archive.writestr(place.lstrip("/"), base64.b64decode(binary.text or ""))
        archive.writestr("[Content_Types].xml", _TYPES.format("".join(types)))
    return out.getvalue()


def _packed_2003(root: Any) -> bytes:
    from lxml import etree

    etree.strip_tags(root, _AUXILIARY)  # sections and places of a page, around paragraphs
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, kind in (("document", "body"), ("styles", "styles")):
            found = root.find(f"{{{_NEW}}}{kind}")
            if found is None:
                continue
            holder = etree.Element(f"{{{_NEW}}}document", nsmap=root.nsmap) if kind == "body" else found
            if kind == "body":
                holder.append(found)
            archive.writestr(f"word/{part}.xml", etree.tostring(holder, xml_declaration=True, encoding="UTF-8"))
        types = [_OVERRIDE.format(f"/word/{part}.xml", f"{_WORD}.{part}+xml") for part in ("document.main", "styles")]
        archive.writestr(
            "[Content_Types].xml", _TYPES.format("".join(types).replace("document.main.xml", "document.xml"))
        )
        archive.writestr("_rels/.rels", _RELATIONS.format("officeDocument", "word/document.xml"))
        archive.writestr("word/_rels/document.xml.rels", _RELATIONS.format("styles", "styles.xml"))
    return out.getvalue()
