"""The code assistant: answers from source code, with the lines that it stands on. Beside what a search finds it sees the
definitions of what a question names, who calls them where that is asked, and the definitions of what the best passages call."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from assistants.code import (
    Place,
    appendix,
    asks_for_tests,
    asks_for_uses,
    fact,
    is_among,
    is_prose,
    names_in,
    places_in,
)
from gateway.assistants.answer import ExtendedAnswer
from gateway.assistants.job import AssistantJob
from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.catalog.code_types import FoundName
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.lines import LineIndex
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.passage import KnownPassages, Passage
from gateway.retrieval.search import SearchService
from gateway.retrieval.store_resolver import StoreResolver
from gateway.retrieval.symbols import SymbolLookup, is_test, passage_of, path_of
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.tenants.tenant import Tenant

READ_CHARS = 4000
"""Of a question, that is searched for."""
DEFAULT_PASSAGES = 8
DEFINITIONS = 4
"""Of what a question names, at the most; as many places that use it."""
FOLLOWED = 2
"""Definitions of what the best passages call."""
FOLLOWED_FROM = 3
"""The best passages."""
OF_ONE_FILE = 2
"""Passages that a search may bring of one file, so that others are seen, too."""
OF_PROSE = 2
"""Of documentation: its words are nearer to a question's than those of the code that it is about."""
OF_TESTS = 1
"""Of tests, unless the question is about tests."""
FILES_FIRST = 5
"""Files that are seen before any of them is seen twice."""
RANK_OFFSET = 5
"""Of reciprocal ranks: the larger, the more counts how much of a file was found."""
SEARCHED = 40
"""Passages that a search brings, of which these are kept."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What a question names, looked up."""

    defined: Sequence[FoundName] = ()
    used: Sequence[FoundName] = ()
    """Where it was asked who uses them."""

    @property
    def passages(self) -> Sequence[Passage]:
        """The best first."""
        defined = [passage_of(each) for each in self.defined]
        if not self.used:
            return defined[:DEFINITIONS]
        return [*defined[:1], *_spread_over_files([passage_of(each) for each in self.used], 1)[:DEFINITIONS]]

    def facts(self, file_ids: Set[str]) -> list[str]:
        """Places of names in these files."""
        told = []
        for name in dict.fromkeys(each.record.name for each in self.defined):
            defined, used = (
                [_place_of(each) for each in found if each.record.name == name and each.file_id in file_ids]
                for found in (self.defined, self.used)
            )
            told.append(fact(name, defined, used))
        return [each for each in told if each]


@dataclass(frozen=True, slots=True)
class _Located:
    passage: Passage
    place: Place | None


class CodeAssistant:
    """One for the life of the application."""

    def __init__(
        self, *, stores: StoreResolver, search: SearchService, symbols: SymbolLookup, lines: LineIndex
    ) -> None:
        self._stores = stores
        self._search = search
        self._symbols = symbols
        self._lines = lines

    @asynccontextmanager
    async def open(self, job: AssistantJob) -> AsyncIterator[Choices]:
        """See service.Open. A request that names stores itself is answered from these, as any chat."""
        request = job.profiled()
        if job.request.file_search is not None or not job.profile.knowledge:
            async with job.generate(request, job.tenant) as choices:
                yield choices
            return
        question = job.question[:READ_CHARS]
        passages, named = await self._passages(job, question)
        found = await self._located(passages)
        known = KnownPassages(
            store=", ".join(job.profile.stores), query=question, passages=[_with_lines(each) for each in found]
        )
        request = replace(request, model=job.model, file_search=None, known=known)
        async with job.generate(request, job.tenant) as choices:
            extended = self._extended(choices, found, named)
            yield choices if extended is None else extended

    async def _passages(self, job: AssistantJob, question: str) -> tuple[Sequence[Passage], _Named]:
        """The best first, and what is known of names."""
        tenant, most = job.tenant, job.profile.top_k or DEFAULT_PASSAGES
        stores = await self._stores.stores(tenant, job.profile.stores)
        named = await self._named(tenant, stores, question)
        try:
            options = RetrievalOptions(max_num_results=SEARCHED, score_threshold=job.profile.min_score)
            request_id = f"{job.request.id}/search"
            searching = self._search.search(tenant, stores, [question], options=options, request_id=request_id)
            near = _mixed((await searching).passages, question)
        except KnowledgeUnavailable:
            if not named.defined:
                raise
            near = []
        best = _distinct([*named.passages, *near])
        called = await self._symbols.called_in(tenant, stores, best[:FOLLOWED_FROM])
        seen = {each.id for each in best[:most]}
        followed = [each for each in map(passage_of, called) if each.id not in seen][:FOLLOWED]
        return _distinct([*best[: max(1, most - len(followed))], *followed]), named

    async def _named(self, tenant: Tenant, stores: Sequence[Store], question: str) -> _Named:
        """The definitions of what a question names, and if it is asked who uses it, these."""
        names = names_in(question)
        if not names:
            return _Named()
        defined = await self._symbols.definitions(tenant, stores, names)
        if not asks_for_uses(question):
            return _Named(defined)
        known = {each.record.name for each in defined}
        used = await self._symbols.uses(
            tenant, stores, [name for name in names if name.split(".")[-1].strip("()") in known]
        )
        return _Named(defined, [each for each in used if each.record.name in known])

    async def _located(self, passages: Sequence[Passage]) -> Sequence[_Located]:
        lines = await self._lines.of(passages)
        return [
            _Located(passage, None if span is None else Place(path_of(passage), *span))
            for passage, span in zip(passages, lines, strict=True)
        ]

    def _extended(self, choices: Choices, found: Sequence[_Located], named: _Named) -> Choices | None:
        """With the places behind the answer; None where that would be in the way: of calls, of several answers."""
        (answer, *others) = choices.answers
        if others or answer.tool_parser is not None or answer.log_probs is not None or answer.grounding is None:
            return None
        by_id = {each.passage.id: each for each in found}
        used = [by_id[each.id] for each in answer.grounding.passages if each.id in by_id]
        if not used:
            return None

        async def no_further() -> None:
            return None

        return Choices([ExtendedAnswer(answer, _places_behind(answer, used, named))], no_further)


def _places_behind(answer: GeneratedAnswer, used: Sequence[_Located], named: _Named) -> Callable[[], Awaitable[str]]:
    async def places() -> str:
        by_id = {each.passage.id: each.place for each in used}
        cited = [by_id.get(each.passage.id) for each in (await answer.citations()).citations]
        seen = [each.place for each in used if each.place is not None]
        told = [_place_of(each) for each in (*named.defined, *named.used)]
        wrong = [place for place in places_in(answer.text) if not is_among(place, [*seen, *told])]
        commits = {
            each.place.path: str(each.passage.attributes.get("commit") or "") for each in used if each.place is not None
        }
        facts = named.facts({each.passage.file_id for each in used})
        return appendix([place for place in cited if place is not None], seen, wrong, commits, facts)

    return places


def _place_of(found: FoundName) -> Place:
    return Place(path_of(found), found.record.line, found.record.last_line)


def _with_lines(located: _Located) -> Passage:
    """Its text says where it stands, so that a model can."""
    passage, place = located.passage, located.place
    if place is None:
        return passage
    headings = passage.headings.removeprefix(place.path).removeprefix(" › ")
    where = f"{place} › {headings}" if headings else str(place)
    return replace(passage, text=f"{where}\n{passage.body}")


def _distinct(passages: Sequence[Passage]) -> list[Passage]:
    found: dict[str, Passage] = {}
    for each in passages:
        found.setdefault(each.id, each)
    return list(found.values())


def _mixed(passages: Sequence[Passage], question: str) -> list[Passage]:
    """Few of one file, of documentation, of tests. Files of which more was found come first (the sum of reciprocal ranks); the
    best passage of each of the first files, then the others."""
    worth: dict[str, float] = {}
    for rank, passage in enumerate(passages):
        worth[passage.file_id] = worth.get(passage.file_id, 0.0) + 1 / (RANK_OFFSET + rank)
    by_file = sorted(passages, key=lambda passage: -worth[passage.file_id])
    left = {"prose": OF_PROSE, "tests": len(passages) if asks_for_tests(question) else OF_TESTS}
    kept = []
    for passage in _spread_over_files(by_file):
        path = path_of(passage)
        kind = "prose" if is_prose(path) else "tests" if is_test(path) else "code"
        if kind in left:
            left[kind] -= 1
        if left.get(kind, 0) >= 0:
            kept.append(passage)
    firsts = _spread_over_files(kept, 1)[:FILES_FIRST]
    return _distinct([*firsts, *kept])


def _spread_over_files(passages: Sequence[Passage], most: int = OF_ONE_FILE) -> list[Passage]:
    """At most so many of one file, in their order."""
    counted: dict[str, int] = {}
    kept = []
    for passage in passages:
        counted[passage.file_id] = counted.get(passage.file_id, 0) + 1
        if counted[passage.file_id] <= most:
            kept.append(passage)
    return kept
