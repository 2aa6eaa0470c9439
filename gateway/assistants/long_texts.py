"""Long texts, worked on in pieces: side by side, behind everybody else's requests."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar

from assistants.word import WordFile
from assistants.writing import Order, Span, Task, as_words, pieces, spans, task_of
from gateway.assistants.job import AssistantJob
from gateway.errors import BadRequest
from gateway.serving.decoding_guide import Guide

T = TypeVar("T")
FAN_IN = 6
"""Summaries that become one."""
TOKENS_PER_CHARACTER = 1.0
"""Of a translation, at the most, behind `TOKENS_LEAST`."""
TOKENS_LEAST = 24


async def translated(job: AssistantJob, asked: Order) -> AsyncGenerator[str, None]:
    """Form and glossary to the letter; the words of each stretch by a step of its own."""
    parts = await asyncio.to_thread(lambda: list(spans(asked.text, job.profile.writing.glossary)))
    _check_count(job, sum(part.words for part in parts))

    async def one(part: Span) -> str:
        return await _rewritten(job, asked.words, part.text) if part.words else part.text

    async with aclosing(_side_by_side(parts, one, job.profile.writing.concurrency)) as written:
        async for text in written:
            yield text


async def _rewritten(job: AssistantJob, words: str, text: str) -> str:
    """A stretch of words, written anew."""
    what = "translation" if task_of(words) is Task.TRANSLATE else "text"
    messages = [
        {"role": "system", "content": f"{words}. Give the {what} alone."},
        {"role": "user", "content": text},
    ]
    most = 3 * len(text) + 40
    guide = Guide.regex(rf"[^\n\r`<>|*_~\\\[\]]{{1,{most}}}")  # nothing of it can become form
    limit = TOKENS_LEAST + int(TOKENS_PER_CHARACTER * len(text))
    return as_words(await job.write(messages, guide=guide, max_tokens=limit, behind_others=True)) or text


async def word_replaced(job: AssistantJob, words: str, word: WordFile) -> bytes:
    """A document with its words written anew. What stands in it twice is written once."""
    job.check_size(len(word.text))
    stretches = await asyncio.to_thread(lambda: list(word.stretches(job.profile.writing.glossary)))
    different = list(dict.fromkeys(part.text for parts in stretches for part in parts if part.words))
    _check_count(job, len(different))

    async def one(text: str) -> str:
        return await _rewritten(job, words, text)

    written = [text async for text in _side_by_side(different, one, job.profile.writing.concurrency)]
    new = dict(zip(different, written, strict=True))
    texts = ["".join(new[part.text] if part.words else part.text for part in parts) for parts in stretches]
    return await asyncio.to_thread(word.replaced, texts)


async def summarised(job: AssistantJob, asked: Order) -> AsyncGenerator[str, None]:
    """The summary, and below it the parts that it stands on: each with its place in the text."""
    rules = job.profile.writing
    places = await asyncio.to_thread(pieces, asked.text, rules.piece_chars)
    _check_count(job, len(places))

    async def part(place: tuple[int, int]) -> str:
        return await _summary(job, asked.words, [asked.text[place[0] : place[1]]])

    leaves = [text async for text in _side_by_side(places, part, rules.concurrency)]
    level = leaves
    while len(level) > 1:
        groups = [level[at : at + FAN_IN] for at in range(0, len(level), FAN_IN)]

        async def group(texts: Sequence[str]) -> str:
            return await _summary(job, asked.words, texts)

        level = [text async for text in _side_by_side(groups, group, rules.concurrency)]
    yield level[0] + "\n"
    if len(leaves) > 1:
        yield "\n"
        for n, ((start, end), text) in enumerate(zip(places, leaves, strict=True), 1):
            yield f"[{n}] characters {start}–{end}: {' '.join(text.split())}\n"


async def _summary(job: AssistantJob, words: str, texts: Sequence[str]) -> str:
    joined = "\n\n".join(texts)
    messages = [
        {"role": "system", "content": job.profile.system},
        {"role": "user", "content": f"{words}:\n\n{joined}"},
    ]
    return (await job.write(messages, behind_others=True)).strip()


def _check_count(job: AssistantJob, count: int) -> None:
    """Raises BadRequest."""
    if count > (most := job.profile.writing.max_pieces):
        raise BadRequest(
            f"The text has {count} pieces; at most {most} are worked on in one request. Send it in parts.",
            param=job.request.text_param,
        )


async def _side_by_side(
    items: Iterable[T], work: Callable[[T], Awaitable[str]], most: int
) -> AsyncGenerator[str, None]:
    """What `work` gives for each, in their order, up to `most` at a time. What runs ends with it."""
    running: deque[asyncio.Future[str]] = deque()
    try:
        for item in items:
            running.append(asyncio.ensure_future(work(item)))
            if len(running) >= most:
                yield await running[0]
                running.popleft()
        while running:
            yield await running[0]
            running.popleft()
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
