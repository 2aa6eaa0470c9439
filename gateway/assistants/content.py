"""Texts: short ones as the model writes them; long ones, and files, in pieces."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath

from assistants.word import WordError, WordFile
from assistants.writing import MAX_TASK, Order, Task, order, task_of
from gateway.assistants.files import AssistantFiles, GivenFile
from gateway.assistants.job import AssistantJob
from gateway.assistants.long_texts import summarised, translated, word_replaced
from gateway.errors import BadRequest
from gateway.knowledge.converters.archives import checked
from gateway.knowledge.documents import DocumentError
from gateway.serving.choices import Choices
from gateway.serving.citations import MadeFile
from gateway.tenants.key import Scope

WORD = ".docx"
TEXT_FILES = (".md", ".markdown", ".html", ".htm", ".txt")
_ENDINGS = {Task.TRANSLATE: "translated", Task.SUMMARISE: "summary", Task.WRITE: "rewritten"}
_UNLINKED = re.compile(r"[\[\]()<>\\`*_!|\s]+")


@dataclass(frozen=True, slots=True)
class _FileWork:
    """What is to be done with a file."""

    asked: Order
    """With the file's text."""
    given: GivenFile
    word: WordFile | None
    """Where it is one of Word."""

    @property
    def filename(self) -> str:
        """Of what comes of it."""
        return f"{PurePath(self.given.file.filename).stem[:200]}.{_ENDINGS[self.asked.task]}{self.given.suffix}"


class ContentAssistant:
    """One for the life of the application."""

    def __init__(self, files: AssistantFiles) -> None:
        self._files = files

    @asynccontextmanager
    async def open(self, job: AssistantJob) -> AsyncIterator[Choices]:
        """See service.Open."""
        if job.request.files:
            job.refuse_options()
            written = self._with_file(job, await self._read(job))
        else:
            asked = order(job.question)
            if asked.task is Task.WRITE:
                async with job.generate(job.profiled(), job.tenant) as choices:
                    yield choices
                return
            job.refuse_options()
            written = _done(job, asked)
        async with job.say(written) as choices:
            yield choices

    async def _read(self, job: AssistantJob) -> _FileWork:
        """Raises RagfleetError, before anything is written."""
        param = job.request.text_param
        if len(job.request.files) > 1:
            raise BadRequest("One file is worked on in one request.", param=param)
        words = job.question.strip().rstrip(":")
        if not words or len(words) > MAX_TASK:
            message = f"Say in at most {MAX_TASK} characters what is to be done with the file, and nothing else."
            raise BadRequest(message, param=param)
        job.tenant.key.require([Scope.KNOWLEDGE_WRITE])
        given = await self._files.read(job.tenant, job.request.files[0], param)
        if given.suffix not in (WORD, *TEXT_FILES):
            known = ", ".join((WORD, *TEXT_FILES))
            raise BadRequest(f"'{given.file.filename}' is not read; what is: {known}.", param=param)
        word = await asyncio.to_thread(_read_word, given, param) if given.suffix == WORD else None
        text = _decoded(given, param) if word is None else word.text
        job.check_size(len(text))
        if not text.strip():
            raise BadRequest("There is no text in the file.", param=param)
        return _FileWork(Order(task_of(words), words, text), given, word)

    async def _with_file(self, job: AssistantJob, work: _FileWork) -> AsyncGenerator[str, None]:
        """A summary's words, or a text's; then the file, by its name."""
        parts: list[str] = []
        if work.word is None or work.asked.task is Task.SUMMARISE:
            async with aclosing(_done(job, work.asked)) as written:
                async for piece in written:
                    parts.append(piece)
                    yield piece
        said = "".join(parts)
        if work.word is None:
            content = said.encode()
        elif work.asked.task is Task.SUMMARISE:
            content = await asyncio.to_thread(work.word.with_body, [line for line in said.splitlines() if line.strip()])
        else:
            content = await word_replaced(job, work.asked.words, work.word)
        made = await self._files.add(job.tenant, work.filename, content, work.given.file)
        gap = "\n" if said.endswith("\n") else "\n\n" if said else ""
        link = f"[{_UNLINKED.sub('_', made.filename)}](/v1/files/{made.id}/content)"
        start = len(said) + len(gap)
        job.made.append(MadeFile(file_id=made.id, filename=made.filename, start=start, end=start + len(link)))
        yield f"{gap}{link}\n"


def _done(job: AssistantJob, asked: Order) -> AsyncGenerator[str, None]:
    """The text that comes of a text."""
    return summarised(job, asked) if asked.task is Task.SUMMARISE else translated(job, asked)


def _read_word(given: GivenFile, param: str) -> WordFile:
    """Raises BadRequest."""
    try:
        return WordFile(checked(given.file.filename, given.content))
    except (DocumentError, WordError) as error:
        raise BadRequest(f"{given.file.filename} cannot be read: {error}", param=param, code="invalid_file") from error


def _decoded(given: GivenFile, param: str) -> str:
    """Raises BadRequest."""
    try:
        return given.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{given.file.filename} is no text in UTF-8: {error.reason} at byte {error.start}."
        raise BadRequest(message, param=param, code="invalid_file") from error
