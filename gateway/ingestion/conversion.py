"""Conversion in processes apart: a parser that eats memory, hangs or crashes takes nothing along but itself."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.knowledge.catalog.types import Chunking, ChunkRecord
from gateway.knowledge.documents import DocumentError

_ANSWER_LIMIT = 256 * 1024 * 1024
"""Bytes of one answer: the chunks of the longest text that is taken, with room for overlaps."""


class ConverterFailed(DocumentError):
    """The converter crashed on the file."""

    code = "server_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file's chunks, its document as JSON, and what was read (Document.receipt)."""

    chunks: list[ChunkRecord]
    document: bytes
    receipt: dict[str, Any]


class Converters:
    """A few converter processes, started when they are needed and replaced when they fail.

    memory_bytes: the address space of one; the libraries alone take 0.4 GiB of it. Raising it takes larger files.
    deadline_s: for one file. Past it the process is killed, and the file fails.
    """

    def __init__(self, embedding_folder: Path, *, count: int, memory_bytes: int, deadline_s: float) -> None:
        self._argv = [sys.executable, "-m", "gateway.ingestion.converter", str(embedding_folder), str(memory_bytes)]
        self._deadline_s = deadline_s
        self._places = asyncio.Semaphore(count)
        self._idle: list[asyncio.subprocess.Process] = []

    async def convert(self, name: str, content: AsyncIterator[bytes], chunking: Chunking) -> Converted:
        """Raises a DocumentError, and whatever reading the content raises."""
        async with self._places:
            with tempfile.TemporaryDirectory(prefix="ragfleet-convert-") as folder:
                source, target = Path(folder, "content"), Path(folder, "document")
                file = await asyncio.to_thread(source.open, "wb")
                with file:
                    async for block in content:
                        await asyncio.to_thread(file.write, block)
                limits = {"max_tokens": chunking.max_tokens, "overlap_tokens": chunking.overlap_tokens}
                task = {"name": name, "content": str(source), "document": str(target), **limits}
                answer = json.loads(await self._ask(name, json.dumps(task).encode() + b"\n"))
                if "error" in answer:
                    raise _failure(answer["error"])
                chunks = [
                    ChunkRecord(index=index, text=text, page=page, start=start, end=end)
                    for index, text, page, start, end in answer["chunks"]
                ]
                read = await asyncio.to_thread(target.read_bytes)
                return Converted(chunks=chunks, document=read, receipt=answer["receipt"])

    async def close(self) -> None:
        """End the processes."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(_end, idle))

    async def _ask(self, name: str, task: bytes) -> bytes:
        process = self._idle.pop() if self._idle else await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._deadline_s):
                process.stdin.write(task)
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            await _end(process)
            raise DocumentError(f"{name} could not be read within {self._deadline_s:g} s; split it") from None
        except (OSError, ValueError) as error:
            await _end(process)
            raise ConverterFailed(f"{name} could not be read: the converter failed ({error})") from error
        except asyncio.CancelledError:
            process.kill()
            raise
        if not line.endswith(b"\n"):
            await _end(process)
            raise ConverterFailed(f"{name} could not be read: the converter crashed (status {process.returncode})")
        self._idle.append(process)
        return line

    async def _start(self) -> asyncio.subprocess.Process:
        # One thread in each numerical library: their pools would take address space by the core.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=_ANSWER_LIMIT,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _failure(error: dict[str, str]) -> DocumentError:
    failure = DocumentError(error["message"])
    failure.code = error["code"]  # type: ignore[misc]  # it comes from another process's class
    return failure
