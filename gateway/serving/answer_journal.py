"""The journal of an answer that outlives its gateway: the prompt, the token ids as they came, the events as they are sent.

What is made from the same prompt and ids is the same, so an answer is taken up anew by making it again from its journal: its
events come in the same order with the same numbers, and those that are in the journal already are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from gateway.dispatch.journaled_generation import JournaledToken
from gateway.knowledge.catalog.answer_types import BackgroundJob, JournalEntry
from gateway.knowledge.catalog.types import Json
from gateway.retrieval.context import Context, Grounding
from gateway.retrieval.passage import Passage
from gateway.serving.request_plan import RequestPlan

_END = b"\n\n"


class AnswerJournal:
    """Of one answer. What is written waits here until it is taken to be committed."""

    def __init__(self, job: BackgroundJob, changed: Callable[[], None]) -> None:
        """changed: called when there is something to be committed."""
        self.id = job.response_id
        """The response's."""
        self._changed = changed
        self._prompt = job.prompt
        self._tokens: list[Sequence[JournaledToken]] = list(job.tokens)
        self._position = job.position
        self._known = self._taken = job.last_event + 1
        self._told = 0
        self._new_prompt: Json | None = None
        self._new_tokens = len(self._tokens)
        self._events: list[bytes] = []

    @property
    def seed(self) -> int:
        """Of an answer whose request names none: the same whoever makes it."""
        return int(self.id[-15:], 16)

    @property
    def prompt(self) -> tuple[RequestPlan, Context] | None:
        """What the engine is to read, where that was found out before."""
        return None if self._prompt is None else _load_prompt(self._prompt)

    @property
    def traceparent(self) -> str:
        """Of the span in which another gateway has begun the answer; "" where there is none."""
        return "" if self._prompt is None else self._prompt.get("traceparent", "")

    def begin(self, plan: RequestPlan, context: Context, traceparent: str = "") -> None:
        """This is what the engine is to read; traceparent: of the answer's span."""
        if self._prompt is None:
            self._prompt = self._new_prompt = {**_dump_prompt(plan, context), "traceparent": traceparent}
            self._changed()

    def recorded(self) -> Sequence[Sequence[JournaledToken]]:
        """See TokenJournal."""
        return tuple(self._tokens)

    def push(self, tokens: Sequence[JournaledToken]) -> None:
        """See TokenJournal."""
        self._tokens.append(tokens)
        self._changed()

    def write(self, events: bytes) -> None:
        """Some whole events. Those that are known from before are left out."""
        for event in events.split(_END)[:-1]:
            self._told += 1
            if self._told > self._known:
                self._known = self._told
                self._events.append(event + _END)
        self._changed()

    @property
    def next_event(self) -> int:
        """The number of the event that comes next."""
        return self._known

    def end(self, event: bytes) -> None:
        """The last event, in place of all that would still come."""
        self._told = self._known
        self.write(event)

    def restart(self) -> None:
        """The answer is made again from its beginning."""
        self._told = 0

    def take(self) -> JournalEntry | None:
        """What is to be committed; None: nothing."""
        tokens = self._tokens[self._new_tokens :]
        if not (tokens or self._events or self._new_prompt):
            return None
        self._position += 1
        self._new_tokens = len(self._tokens)
        entry = JournalEntry(
            response_id=self.id,
            position=self._position,
            last_event=self._known - 1,
            events=b"".join(self._events).decode(),
            tokens=tokens,
            prompt=self._new_prompt,
        )
        self._events, self._new_prompt = [], None
        return entry


def _dump_prompt(plan: RequestPlan, context: Context) -> Json:
    grounding = None if context.grounding is None else asdict(context.grounding)
    return {"plan": asdict(plan), "input_ids": list(context.input_ids), "grounding": grounding}


def _load_prompt(prompt: Json) -> tuple[RequestPlan, Context]:
    grounding = None
    if (found := prompt["grounding"]) is not None:
        grounding = Grounding(**{**found, "passages": tuple(Passage(**each) for each in found["passages"])})
    return RequestPlan(**prompt["plan"]), Context(input_ids=prompt["input_ids"], grounding=grounding)
