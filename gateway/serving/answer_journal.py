"""The journal of an answer that outlives its gateway: the prompt, the token ids as they came, the events as they are sent.

What is made from the same prompt and ids is the same, so an answer is taken up anew by making it again from its journal: the
events of each choice come in the same order, and those that are in the journal already are left out.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields

from gateway.dispatch.journaled_generation import JournaledToken
from gateway.knowledge.catalog.answer_types import BackgroundJob, JournalEntry
from gateway.knowledge.catalog.types import Json
from gateway.retrieval.context import Context, Grounding
from gateway.retrieval.passage import Passage
from gateway.serving.request_plan import RequestPlan

SHARED = ""
"""The part of events that are no choice's own."""
END = b"\n\n"
"""Of an event."""


@dataclass(slots=True)
class JournalPart:
    """Of one choice; see TokenJournal."""

    changed: Callable[[], None]
    tokens: list[Sequence[JournaledToken]] = field(default_factory=list)
    known: int = 0
    """Its events in the journal."""
    told: int = 0
    """Its events that were made since the answer was begun, or taken up."""
    cached_tokens: int = 0
    """See TokenJournal."""
    taken_tokens: int = 0
    taken_events: int = 0

    def recorded(self) -> Sequence[Sequence[JournaledToken]]:
        """See TokenJournal."""
        return tuple(self.tokens)

    def push(self, tokens: Sequence[JournaledToken]) -> None:
        """See TokenJournal."""
        self.tokens.append(tokens)
        self.changed()


class AnswerJournal:
    """Of one answer, with all its choices. What is written waits here until it is taken to be committed."""

    def __init__(
        self,
        job: BackgroundJob,
        changed: Callable[[], None],
        *,
        hurry: Callable[[], None] = lambda: None,
        numbered: bool = False,
    ) -> None:
        """changed: called when there is something to be committed; hurry: when it is the answer's first events.
        numbered: whether each event has its number (`id:`)."""
        self.id = job.answer_id
        """The answer's."""
        self._changed = changed
        self._hurry = hurry
        self._prompt = job.prompt
        self._position = job.position
        self._number = job.last_event + 1
        self._head = b"id: %b:" % job.answer_id.encode() if numbered else b""
        self._new_prompt: Json | None = None
        self._ended = False
        self._events: list[bytes] = []
        self._parts: defaultdict[str, JournalPart] = defaultdict(lambda: JournalPart(changed))
        for parts in job.parts:
            for name, (tokens, events, cached) in parts.items():
                part = self._parts[name]
                part.cached_tokens = cached
                part.tokens += tokens
                part.known += events
        for part in self._parts.values():
            part.taken_tokens, part.taken_events = len(part.tokens), part.known

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

    def choice(self, index: int) -> JournalPart:
        """The tokens of one choice."""
        return self._parts[str(index)]

    def write(self, events: bytes, part: str = SHARED) -> None:
        """Some whole events. Those that are known from before are left out."""
        written = self._parts[part]
        count = events.count(END)
        repeated = written.known - written.told
        written.told += count
        if repeated > 0:
            events = END.join(events.split(END)[min(repeated, count) :])
            count = max(0, count - repeated)
            if not count:
                return
        written.known += count
        if not self._events:  # else it has been told since they were taken last
            self._changed()
        self._events.append(self._with_ids(events, count) if self._head else events)
        if not self._number:
            self._hurry()
        self._number += count

    def _with_ids(self, events: bytes, count: int) -> bytes:
        if count == 1:
            return b"%b%d\n%b" % (self._head, self._number, events)
        each = enumerate(events.split(END)[:-1], self._number)
        return b"".join(b"%b%d\n%b\n\n" % (self._head, number, event) for number, event in each)

    @property
    def next_event(self) -> int:
        """The number of the event that comes next."""
        return self._number

    def end(self, events: bytes) -> None:
        """The last events, in place of all that would still come."""
        shared = self._parts[SHARED]
        shared.told = shared.known
        self.write(events)

    def close(self) -> None:
        """Nothing more comes of it."""
        self._ended = True
        self._changed()

    def restart(self) -> None:
        """The answer is made again from its beginning."""
        for part in self._parts.values():
            part.told = 0

    def take(self) -> JournalEntry | None:
        """What is to be committed; None: nothing."""
        parts = {}
        for name, part in self._parts.items():
            count = len(part.tokens)
            if count > part.taken_tokens or part.known > part.taken_events:
                parts[name] = part.tokens[part.taken_tokens :], part.known - part.taken_events, part.cached_tokens
                part.taken_tokens, part.taken_events = count, part.known
        if not (parts or self._new_prompt or self._ended):
            return None
        self._position += 1
        entry = JournalEntry(
            answer_id=self.id,
            position=self._position,
            last_event=self._number - 1,
            events=b"".join(self._events),
            parts=parts,
            prompt=self._new_prompt,
            ended=self._ended,
        )
        self._events, self._new_prompt, self._ended = [], None, False
        return entry


def _dump_prompt(plan: RequestPlan, context: Context) -> Json:
    grounding = None if context.grounding is None else asdict(context.grounding)
    planned = {each.name: getattr(plan, each.name) for each in fields(plan)}
    return {"plan": planned, "input_ids": list(context.input_ids), "grounding": grounding}


def _load_prompt(prompt: Json) -> tuple[RequestPlan, Context]:
    grounding = None
    if (found := prompt["grounding"]) is not None:
        grounding = Grounding(**{**found, "passages": tuple(Passage(**each) for each in found["passages"])})
    return RequestPlan(**prompt["plan"]), Context(input_ids=prompt["input_ids"], grounding=grounding)
