"""Word documents as tests need them: raw Office Open XML, with whatever a test wants in the body."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_T = f"{{{W}}}t"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_KIND = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def run(text: str, look: str = "") -> str:
    """look: what is in its properties."""
    properties = f"<w:rPr>{look}</w:rPr>" if look else ""
    return f'<w:r w:rsidR="00A1">{properties}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>'


def paragraph(inner: str, style: str = "") -> str:
    """style: its name."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{inner}</w:p>"


def word_file(body: str, *, header: str = "", footnote: str = "", more: Mapping[str, bytes] | None = None) -> bytes:
    """A whole document; body, header and footnote are paragraphs."""
    parts = {
        "document": f"<w:body>{body}<w:sectPr><w:pgSz w:w='11906' w:h='16838'/></w:sectPr></w:body>",
        "header1": header or paragraph(""),
        "footnotes": f"<w:footnote w:id='1'>{footnote or paragraph('')}</w:footnote>",
    }
    roots = {"document": "document", "header1": "hdr", "footnotes": "footnotes"}
    kinds = {"document": "document.main", "header1": "header", "footnotes": "footnotes"}
    overrides = "".join(
        f'<Override PartName="/word/{name}.xml" ContentType="{_KIND}.{kinds[name]}+xml"/>' for name in parts
    )
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{_RELATED}/officeDocument" Target="word/document.xml"/></Relationships>'
    )
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relations)
        for name, inner in parts.items():
            archive.writestr(
                f"word/{name}.xml",
                f'<w:{roots[name]} xmlns:w="{W}" xmlns:r="{_RELATED}">{inner}</w:{roots[name]}>',
            )
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return out.getvalue()


def form(content: bytes) -> dict[str, Any]:
    """Everything but the words."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {
            name: _form(archive.read(name)) if name.startswith("word/") else archive.read(name)
            for name in archive.namelist()
        }


def _form(data: bytes) -> Any:
    try:
        root = etree.fromstring(data)
    except etree.XMLSyntaxError:
        return data
    for node in root.iter(_T):
        node.text = None
        node.attrib.pop(_SPACE, None)
    return etree.tostring(root, method="c14n")


def words(content: bytes) -> list[str]:
    """Of each paragraph of the body."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        root = etree.fromstring(archive.read("word/document.xml"))
    return ["".join(node.text or "" for node in each.iter(_T)) for each in root.iter(f"{{{W}}}p")]
