"""Conversion in processes apart: a parser that eats memory, hangs or crashes takes nothing along but itself."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.ingestion.converter_slots import ConverterSlots
from gateway.knowledge.catalog.code_types import NameRecord, NameRole
from gateway.knowledge.catalog.types import Chunking, ChunkRecord
from gateway.knowledge.documents import DocumentError

SLICES_S = (5.0, 30.0)
"""How long a file is read while others wait: the first time, and the second. Raising it makes others wait longer for a file that
takes long; lowering it begins long files anew more often."""
SPARE_AFTER_S = 1.0
"""At a file, with all converters at work, until a spare one is begun."""
_ANSWER_LIMIT = 256 * 1024 * 1024
"""Bytes of one answer: the chunks of the longest text that is taken, with room for overlaps."""
_PROJECT = Path(__file__).resolve().parents[2]
_HANDED_ON = ("RAGFLEET_HOME", "RAGFLEET_PART")
"""By these two `ragfleet down` finds each process of a fleet. Nothing else of the environment is a converter's business."""


class ConverterFailed(DocumentError):
    """The converter crashed on the file."""

    code = "server_error"


class SlowConversion(Exception):
    """The file had all its slices while others waited; it is to come again, when it may take its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file's chunks, the names in them where it is source code, its document as JSON, and what was read (Document.receipt)."""

    chunks: list[ChunkRecord]
    names: list[NameRecord]
    document: bytes
    receipt: dict[str, Any]


class Converters:
    """A few converter processes, started when they are needed and replaced when they fail.

    memory_bytes: the address space of one; the libraries alone take 0.4 GiB of it. Raising it takes larger files.
    deadline_s: for one file. Past it the process is killed, and the file fails.
    scratch: where the files lie that are at work; what a killed process left there is deleted. None: in the system's own place.
    ocr_languages: of text recognition, as Tesseract names them (`eng+deu`); `none`: pictures are not read.
    slices_s: see SLICES_S. budgets: see ConverterSlots.
    """

    def __init__(
        self,
        embedding_folder: Path,
        *,
        count: int,
        memory_bytes: int,
        deadline_s: float,
        scratch: Path | None = None,
        ocr_languages: str = "none",
        slices_s: tuple[float, ...] = SLICES_S,
        budgets: Mapping[str, float] | None = None,
    ) -> None:
        self._embedding_folder = embedding_folder.resolve()
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._ocr_languages = ocr_languages
        self._slices = len(slices_s)
        self._slots = ConverterSlots(count, slices_s, budgets)
        self._idle: list[asyncio.subprocess.Process] = []
        self._count, self._at_work = count, 0
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        """Of one that makes room for another tenant's file the process ends, and the file would wait for the next one to begin, a
        second and more on a busy machine. One at the most, beside the `count`."""
        self._place = scratch
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    async def convert(
        self,
        tenant: str,
        name: str,
        content: Callable[[], AsyncIterator[bytes]],
        chunking: Chunking,
        *,
        patient: bool = False,
    ) -> Converted:
        """Wait for a converter, among the files of all tenants (ConverterSlots), and convert what `content` gives.

        Raises a DocumentError, SlowConversion unless `patient`, and whatever reading the content raises.
        """
        with tempfile.TemporaryDirectory(dir=self._folder()) as folder:
            source, target = Path(folder, "content"), Path(folder, "document")
            limits = {"max_tokens": chunking.max_tokens, "overlap_tokens": chunking.overlap_tokens}
            task = {"name": name, "content": str(source), "document": str(target), "cpu_s": self._deadline_s, **limits}
            stops = self._slices if patient else 0
            while True:
                async with self._slots.take(tenant, stops) as slot:
                    if not slot.must_end:
                        try:
                            async with slot.scope, asyncio.timeout(self._deadline_s):
                                if not source.exists():
                                    await _save(content(), source)
                                answer = json.loads(await self._ask(name, json.dumps(task).encode() + b"\n"))
                                break
                        except TimeoutError:
                            if not slot.must_end:
                                raise self._too_slow(name) from None
                stops += slot.used_up
                if stops == self._slices and slot.used_up:
                    raise SlowConversion(name)
            if "error" in answer:
                raise _failure(answer["error"])
            chunks = [
                ChunkRecord(index=index, text=text, page=page, start=start, end=end)
                for index, text, page, start, end in answer["chunks"]
            ]
            names = [
                NameRecord(
                    role=NameRole(role), name=word, scope=scope, kind=kind, line=line, last_line=last, chunk=chunk
                )
                for role, word, scope, kind, line, last, chunk in answer["names"]
            ]
            read = await asyncio.to_thread(target.read_bytes)
            return Converted(chunks=chunks, names=names, document=read, receipt=answer["receipt"])

    async def close(self) -> None:
        """End the processes."""
        idle, self._idle = self._idle, []
        if (spare := self._spare) is not None:
            self._spare = None
            idle += [
                each
                for each in await asyncio.gather(spare, return_exceptions=True)
                if not isinstance(each, BaseException)
            ]
        await asyncio.gather(*map(_end, idle))
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _folder(self) -> str:
        """The one place that converters may write to."""
        if self._scratch is None:
            if self._place is not None:
                shutil.rmtree(self._place, ignore_errors=True)
                self._place.mkdir(mode=0o700, parents=True)
            self._scratch = tempfile.TemporaryDirectory(prefix="ragfleet-convert-", dir=self._place)
        return self._scratch.name

    def _too_slow(self, name: str) -> DocumentError:
        return DocumentError(f"{name} could not be read within {self._deadline_s:g} s; split it")

    async def _ask(self, name: str, task: bytes) -> bytes:
        process = await self._take()
        assert process.stdin is not None
        assert process.stdout is not None
        self._at_work += 1
        alarm = asyncio.get_running_loop().call_later(SPARE_AFTER_S, self._begin_spare)
        try:
            process.stdin.write(task)
            await process.stdin.drain()
            line = await process.stdout.readline()
        except (OSError, ValueError) as error:
            await _end(process)
            raise ConverterFailed(f"{name} could not be read: the converter failed ({error})") from error
        except BaseException:  # it must make room, took too long, or the ingestion ends: the process is at work still
            await _end(process)
            raise
        finally:
            alarm.cancel()
            self._at_work -= 1
        if not line.endswith(b"\n"):
            await _end(process)
            if process.returncode == -signal.SIGXCPU:
                raise self._too_slow(name)
            raise ConverterFailed(f"{name} could not be read: the converter crashed (status {process.returncode})")
        self._idle.append(process)
        return line

    def _begin_spare(self) -> None:
        if self._at_work >= self._count and not self._idle and self._spare is None:
            self._spare = asyncio.create_task(self._start(), name="spare converter")

    async def _take(self) -> asyncio.subprocess.Process:
        """One that nobody uses, ready or just begun."""
        if self._idle:
            return self._idle.pop()
        if self._spare is None:
            return await self._start()
        spare, self._spare = self._spare, None
        try:
            return await asyncio.shield(spare)
        except asyncio.CancelledError:
            self._spare = self._spare or spare
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        scratch = self._folder()
        # One thread in each numerical library: their pools would take address space by the core.
        environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        environment |= {
            "PYTHONPATH": str(_PROJECT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            "TMPDIR": scratch,
        }
        environment |= {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway.ingestion.converter_process"),
            *(str(self._embedding_folder), scratch, str(self._memory_bytes), self._ocr_languages),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=scratch,
            env=environment,
            limit=_ANSWER_LIMIT,
        )


async def _save(content: AsyncIterator[bytes], target: Path) -> None:
    """Whole or not at all: what is cut short is not there."""
    partial = target.with_suffix(".partial")
    with partial.open("wb") as file:  # not in a thread: a file that is opened for somebody who has left stays open
        async for block in content:
            await asyncio.to_thread(file.write, block)
    partial.rename(target)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Also where the caller is being cancelled: nothing of the process is left when this returns."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _failure(error: dict[str, str]) -> DocumentError:
    failure = DocumentError(error["message"])
    failure.code = error["code"]  # type: ignore[misc]  # it comes from another process's class
    return failure
