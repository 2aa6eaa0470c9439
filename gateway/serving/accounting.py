"""What a request comes to, in one place: its reservation, its row in the ledger, and the tokens that metrics count."""

from types import TracebackType
from typing import Self

from gateway import errors
from gateway.metrics import Metrics
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import TokenUsage
from gateway.tenants.budgets import Resource
from gateway.tenants.ledger import Ledger, LedgerEntry, outcome_of
from gateway.tenants.quotas import Reservation


class Accounting:
    """Of one request that was admitted. A context manager: on every path it is settled once."""

    def __init__(self, ledger: Ledger, entry: LedgerEntry, reserved: Reservation, metrics: Metrics) -> None:
        self._ledger = ledger
        self._entry = entry
        self._reserved = reserved
        self._metrics = metrics
        self._choices: Choices | None = None
        self._is_over = False
        ledger.open(entry, self._progress)

    async def resize(self, tokens: int) -> None:
        """It may take so many at the most, as is known now. Raises as `Quotas.reserve` does."""
        await self._reserved.resize({Resource.TOKENS: tokens})
        self._entry.reserved = tokens

    def begin(self, choices: Choices) -> None:
        """These are its answers; when the last one has ended, the request is settled before its client hears so."""
        self._choices = choices
        if (grounding := choices.answers[0].grounding) is not None:
            self._entry.stores = [grounding.store]
        for answer in choices.answers:
            answer.on_end = self._answer_ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It is over, whichever way: what was not settled is now."""
        if not self._is_over:
            self._finish(error)
            self._ledger.settle_later(self._entry)

    async def _answer_ended(self) -> None:
        assert self._choices is not None
        if not self._is_over and all(answer.finish_reason is not None for answer in self._choices.answers):
            self._finish(None)
            await self._ledger.settle(self._entry)

    def _finish(self, error: BaseException | None) -> None:
        self._is_over = True
        usage = self._usage()
        # Where nothing came of it, for a fault that is not the client's, it costs nothing.
        if isinstance(error, errors.RagfleetError) and not usage.completion:
            usage = TokenUsage(0, 0)
        elif self._choices is not None:
            self._reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: usage.total})
        self._metrics.tokens.labels(self._entry.tenant, "prompt").inc(usage.prompt)
        self._metrics.tokens.labels(self._entry.tenant, "completion").inc(usage.completion)
        self._entry.prompt, self._entry.cached, self._entry.completion = usage.prompt, usage.cached, usage.completion
        if self._choices is not None:
            self._entry.instances = list(dict.fromkeys(each.instance for each in self._choices.attempts))
        self._entry.outcome = outcome_of(error)

    def _usage(self) -> TokenUsage:
        return TokenUsage(0, 0) if self._choices is None else self._choices.usage

    def _progress(self) -> tuple[int, int, int]:
        usage = self._usage()
        return usage.prompt, usage.cached, usage.completion
