"""What a converter process cannot do, whoever wrote the file that it reads: tried from inside."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from gateway.ingestion import confinement, converter_pool
from gateway.ingestion.converter_pool import Converters
from gateway.knowledge.catalog.types import Chunking
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.converters.tesseract import Tesseract, TesseractUnavailable
from gateway.knowledge.documents import DocumentError
from ragfleet.paths import PROJECT

LACKS = "; ".join(confinement.missing())
needs_all = pytest.mark.skipif(bool(LACKS), reason=LACKS)

INSIDE = """
import ctypes, json, os, socket, sys
from pathlib import Path
from gateway.ingestion.confinement import ProcessLimits, confine
place, secret = Path(sys.argv[1]), Path(sys.argv[2])
libraries = [Path(p) for p in ("/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix) if Path(p).exists()]
listener = socket.socket()
failed = confine(ProcessLimits(memory_bytes=1 << 30, file_bytes=1 << 20), readable=libraries, writable=place)
def attempt(work):
    try:
        work()
    except BaseException as error:
        return type(error).__name__
    return "done"
def process():
    if os.fork() == 0:
        os._exit(0)
def huge():
    with (place / "huge").open("wb") as file:
        file.write(bytes(2 << 20))
tried = {
    "socket": lambda: socket.socket(),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "socket from before": lambda: listener.connect(("127.0.0.1", 9)),
    "fork": process,
    "program": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "secret": secret.read_text,
    "parent": Path(f"/proc/{os.getppid()}/environ").read_bytes,
    "listing": lambda: list(secret.parent.iterdir()),
    "write outside": lambda: (secret.parent / "mine").write_text("x"),
    "huge file": huge,
    "memory": lambda: bytearray(2 << 30),
    "io_uring": lambda: 1 / (ctypes.CDLL(None).syscall(425, 1, None) >= 0),
    "own file": lambda: (place / "own").write_text("x"),
    "thread": lambda: __import__("threading").Thread(target=print, kwargs={"end": ""}).start(),
}
print(json.dumps({"failed": failed, **{name: attempt(work) for name, work in tried.items()}}))
"""


@needs_all
def test_a_confined_process_reaches_nothing_but_its_own_folder(tmp_path: Path) -> None:
    place, secret = tmp_path / "place", tmp_path / "secrets" / "key"
    place.mkdir()
    secret.parent.mkdir()
    secret.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, place, secret],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("failed") == []
    allowed = {name for name, came in found.items() if came == "done"}
    # As root no limit of processes holds; threads are the libraries' own.
    assert allowed - {"thread"} == {"own file"}, found
    assert not (secret.parent / "mine").exists()


@pytest.fixture
async def converters(tmp_path: Path) -> AsyncIterator[Converters]:
    made = Converters(
        embedding_folder(), count=1, memory_bytes=1536 << 20, deadline_s=60.0, scratch=tmp_path / "scratch"
    )
    yield made
    await made.close()


async def _content() -> AsyncIterator[bytes]:
    yield b"words"


async def test_a_converter_knows_nothing_of_our_environment(
    converters: Converters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("RAGFLEET_API_KEY", "very-secret")
    await converters.convert("acme", "a.txt", _content, Chunking())
    (process,) = converters._idle
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"very-secret" not in environment
    assert {each.split(b"=")[0] for each in environment.split(b"\0") if each} <= {
        *(
            b"OPENBLAS_NUM_THREADS",
            b"OMP_NUM_THREADS",
            b"MALLOC_ARENA_MAX",
            b"TOKENIZERS_PARALLELISM",
            b"RAYON_NUM_THREADS",
        ),
        *(b"PYTHONPATH", b"PYTHONDONTWRITEBYTECODE", b"LANG", b"TMPDIR", b"RAGFLEET_HOME", b"RAGFLEET_PART"),
    }


async def test_a_conversion_that_is_cancelled_leaves_no_process_and_no_file(
    converters: Converters, tmp_path: Path
) -> None:
    await converters.convert("acme", "a.txt", _content, Chunking())
    (process,) = converters._idle
    os.kill(process.pid, 19)  # SIGSTOP: it never answers
    task = asyncio.create_task(converters.convert("acme", "a.txt", _content, Chunking()))
    async with asyncio.timeout(60):
        while converters._idle:  # it is at work with it
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert process.returncode == -9
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]


async def test_a_spare_converter_is_ready_for_whoever_a_long_file_makes_room_for(
    converters: Converters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter_pool, "SPARE_AFTER_S", 3600.0)
    await converters.convert("acme", "a.txt", _content, Chunking())
    monkeypatch.setattr(converter_pool, "SPARE_AFTER_S", 0.0)
    (process,) = converters._idle
    os.kill(process.pid, 19)  # SIGSTOP: it never answers
    task = asyncio.create_task(converters.convert("acme", "a.txt", _content, Chunking()))
    async with asyncio.timeout(60):
        while converters._spare is None:
            await asyncio.sleep(0.01)
    spare = await converters._spare
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await converters.convert("other", "a.txt", _content, Chunking())
    assert converters._idle == [spare]


async def test_what_a_killed_process_left_is_deleted(converters: Converters, tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "ragfleet-convert-x" / "content"
    left.parent.mkdir(parents=True)
    left.write_text("a stranger's file")
    await converters.convert("acme", "a.txt", _content, Chunking())
    assert not left.exists()


async def test_without_tesseract_a_picture_is_refused_by_name(tmp_path: Path) -> None:
    """And with it, where it does not have the language."""
    made = Converters(
        embedding_folder(), count=1, memory_bytes=1536 << 20, deadline_s=60.0, scratch=tmp_path, ocr_languages="xyz"
    )
    try:
        with pytest.raises(DocumentError, match=r"sign\.png: this kind of file cannot be read"):
            await made.convert("acme", "sign.png", _sign, Chunking())
    finally:
        await made.close()


async def test_tesseract_reads_a_picture_in_confinement(tmp_path: Path) -> None:
    try:
        Tesseract("eng")
    except TesseractUnavailable as error:
        pytest.skip(str(error))
    made = Converters(
        embedding_folder(), count=1, memory_bytes=1536 << 20, deadline_s=60.0, scratch=tmp_path, ocr_languages="eng"
    )
    try:
        converted = await made.convert("acme", "sign.png", _sign, Chunking())
    finally:
        await made.close()
    assert [chunk.text for chunk in converted.chunks] == ["sign\nThe well is forty metres deep."]
    assert converted.receipt["recognized"][0]["page"] == 1


async def _sign() -> AsyncIterator[bytes]:
    image, file = Image.new("L", (900, 200), 255), BytesIO()
    ImageDraw.Draw(image).text((40, 60), "The well is forty metres deep.", fill=0, font=ImageFont.load_default(48))
    image.save(file, "PNG")
    yield file.getvalue()
