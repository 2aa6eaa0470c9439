"""One batch with every kind of file, good and evil: each comes to its own end, in the real converter processes.

The real files are in ../shared/data/formats, or where RAGFLEET_TEST_DATA says; without them their part of the table is skipped.
"""

import os
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfWriter

from gateway.knowledge.catalog.types import FileState
from gateway.knowledge.documents import Document
from gateway.knowledge.objects import FolderStore, content_key, document_key
from gateway.tenants.tenant import Tenant
from tests.component.test_ingestion_jobs import Setup
from tests.support.compound_file import compound_file

REAL = Path(os.environ.get("RAGFLEET_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "formats"

REAL_FILES: dict[str, str] = {
    "test.pdf": "completed",
    "REPAIR-2022-INV-001_multipage.pdf": "completed",
    "SPARSE-2024-INV-1234_borderless_table.pdf": "completed",
    "MEDRPT-2024-PAT-3847_medical_report_scan.pdf": "invalid_file",
    "test.docx": "completed",
    "test_with_comment.docx": "completed",
    "equations.docx": "completed",
    "test.pptx": "completed",
    "test.xlsx": "completed",
    "test.xls": "completed",
    "test_mskanji.csv": "completed",
    "test.epub": "completed",
    "test_blog.html": "completed",
    "test_wikipedia.html": "completed",
    "test_notebook.ipynb": "completed",
    "test_rss.xml": "completed",
    "random.bin": "unsupported_file",
}


def encrypted() -> bytes:
    writer, out = PdfWriter(), BytesIO()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(out)
    return out.getvalue()


def bomb() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(600 << 20))
    return out.getvalue()


def open_document() -> bytes:
    out, kind = BytesIO(), "urn:oasis:names:tc:opendocument:xmlns"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr(
            "content.xml",
            f'<o:document-content xmlns:o="{kind}:office:1.0" xmlns:t="{kind}:text:1.0"><o:body><o:text>'
            "<t:p>Offene Wörter</t:p></o:text></o:body></o:document-content>",
        )
    return out.getvalue()


def message() -> bytes:
    texts = {"0037": "Pumpe 7", "1000": "Die Dichtung ist porös."}
    streams = {f"__substg1.0_{number}001F": text.encode("utf-16-le") for number, text in texts.items()}
    return compound_file({"__properties_version1.0": bytes(32), **streams})


TABLE = "Straße,Größe\nÄpfel,Öl"
MADE: dict[str, tuple[bytes, str]] = {
    **{f"{encoding}.csv": (TABLE.encode(encoding), "completed") for encoding in ("utf-8-sig", "utf-16", "latin-1")},
    "cp932.csv": ("名前,年齢\n佐藤太郎,30\n三木英子,25\n髙橋淳,35".encode("cp932"), "completed"),
    "cp1251.csv": ("Имя,Город\nИван,Москва\nПётр,Казань".encode("cp1251"), "completed"),
    "code.rs": (b"fn main() {}\n", "completed"),
    "open.odt": (open_document(), "completed"),
    "mail.msg": (message(), "completed"),
    "cut.doc": (message()[:600], "invalid_file"),
    "encrypted.pdf": (encrypted(), "invalid_file"),
    "bomb.docx": (bomb(), "invalid_file"),
    "noise.pdf": (bytes(range(256)) * 8, "invalid_file"),
    "empty.txt": (b"", "invalid_file"),
    "archive.zip": (b"PK\x05\x06" + bytes(18), "unsupported_file"),
}
WORDS = {
    "latin-1.csv": "Größe",
    "utf-16.csv": "Äpfel",
    "cp932.csv": "髙橋淳",
    "cp1251.csv": "Москва",
    "open.odt": "Wörter",
    "mail.msg": "porös",
}


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path)
    made.store = (await made.catalog.of(Tenant("acme")).stores.create(name="docs")).id
    yield made
    await made.converters.close()
    await made.catalog.close()


async def ingest(setup: Setup, files: dict[str, bytes]) -> dict[str, str]:
    """What became of each: completed, or the code of its failure; a failure without a message is none."""
    for name, content in files.items():
        await setup.objects.put(content_key(f"file-{name}"), content)
        await setup.catalog.of(Tenant("acme")).files.add(
            file_id=f"file-{name}", filename=name, purpose="assistants", size=len(content), sha256="0"
        )
    await setup.attach(*files)
    while await setup.jobs.round():
        pass
    members = {name: await setup.member(name) for name in files}
    for name, member in members.items():
        if member.error is not None:
            assert name in member.error.message
    return {name: member.error.code if member.error else member.state.value for name, member in members.items()}


@pytest.mark.timeout(600)  # each file has converters of its own: two minutes on a busy machine
async def test_every_file_of_a_batch_comes_to_its_own_end(setup: Setup) -> None:
    found = {name: REAL / name for name in REAL_FILES if (REAL / name).is_file()}
    contents = {name: content for name, (content, _) in MADE.items()} | {n: p.read_bytes() for n, p in found.items()}
    expected = {name: outcome for name, (_, outcome) in MADE.items()} | {name: REAL_FILES[name] for name in found}
    assert await ingest(setup, contents) == expected
    for name, outcome in expected.items():
        rows = [row for row in setup.rows() if row.filename == name]
        assert bool(rows) == (outcome == "completed"), name
        if rows:
            document = Document.from_json(await setup.objects.read(document_key(f"file-{name}")))
            assert all(row.text.endswith(document.text[row.start : row.end]) and row.end > row.start for row in rows), (
                name
            )
            assert WORDS.get(name, "") in "".join(row.text for row in rows)
    if len(found) < len(REAL_FILES):
        pytest.skip(f"{REAL} lacks {sorted(set(REAL_FILES) - set(found))}; the rest came to its end as expected")


def test_every_real_file_is_in_the_table() -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there; set RAGFLEET_TEST_DATA to a folder with formats/")
    assert {path.name for path in REAL.iterdir()} - {"LICENSE.MIT"} == set(REAL_FILES)


async def test_a_file_of_500_mb_fails_without_being_read(setup: Setup, tmp_path: Path) -> None:
    folder = FolderStore(tmp_path / "objects")
    await folder.put(content_key("file-huge"), b"x")
    (place,) = (path for path in (tmp_path / "objects").rglob("*") if path.is_file())
    with place.open("r+b") as file:
        file.truncate(500 << 20)  # a hole: it takes no room on the disk
    setup.jobs._objects = folder
    await setup.catalog.of(Tenant("acme")).files.add(
        file_id="file-huge", filename="huge.txt", purpose="assistants", size=500 << 20, sha256="0"
    )
    await setup.attach("huge")
    await setup.jobs.round()
    member = await setup.member("huge")
    assert member.state is FileState.FAILED
    assert member.error is not None
    assert (member.error.code, "500 MiB" in member.error.message) == ("invalid_file", True)
