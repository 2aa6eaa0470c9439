"""What tenants have used, by buckets of time, in the shape of OpenAI's usage API; and what it costs by a price list."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import yaml

from gateway.environment import ConfigError

EMBEDDINGS = "embeddings"
"""The route of embeddings, as metrics and the ledger name it."""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Whole buckets of `width` seconds."""

    start: int
    end: int
    """Not included."""
    width: int
    tenant: str | None
    """None: all."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Requests of one kind, tenant, key and model in one bucket."""

    bucket: int
    """Unix seconds of its begin."""
    embeds: bool
    tenant: str
    key: str
    model: str
    requests: int
    prompt: int
    cached: int
    completion: int


class UsageSource(Protocol):
    """Where the rows of the ledger are summed up. Raises CatalogUnavailable."""

    async def usage(self, query: UsageQuery) -> Sequence[UsageRow]:
        """By bucket, oldest first; running requests included, as far as they are."""


class PriceList:
    """Prices of models, for a million tokens each: `currency: usd`, `models: {name: {input, cached_input, output}}`; the name `*`
    stands for any other model."""

    def __init__(self, currency: str, models: Mapping[str, Mapping[str, Decimal]]) -> None:
        self.currency = currency
        self._models = models

    @classmethod
    def read(cls, path: Path) -> "PriceList":
        """Raises ConfigError."""
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
            models = {
                str(name): {str(kind): Decimal(str(price)) for kind, price in prices.items()}
                for name, prices in given["models"].items()
            }
            currency = str(given.get("currency", "usd"))
        except (OSError, yaml.YAMLError, ArithmeticError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path}: cannot be read as a price list: {error!r}") from error
        for name, prices in models.items():
            if unknown := prices.keys() - {"input", "cached_input", "output"}:
                raise ConfigError(f"{path}: {name}: there is no price for {', '.join(sorted(unknown))}")
            if any(not price.is_finite() or price < 0 for price in prices.values()):
                raise ConfigError(f"{path}: {name}: a price must be 0 or more")
        return cls(currency, models)

    def cost(self, row: UsageRow) -> Decimal:
        """Of a row; 0 for a model that has no price."""
        prices = self._models.get(row.model) or self._models.get("*") or {}
        per_input = prices.get("input", Decimal())
        read = (row.prompt - row.cached) * per_input + row.cached * prices.get("cached_input", per_input)
        return (read + row.completion * prices.get("output", Decimal())) / MILLION


COLUMNS = (
    *("start_time", "end_time", "object", "tenant", "api_key_id", "model", "num_model_requests"),
    *("input_tokens", "input_cached_tokens", "output_tokens", "amount", "currency"),
)


def results(rows: Iterable[UsageRow], groups: Collection[str], prices: PriceList | None) -> list[dict[str, Any]]:
    """Of one bucket, as OpenAI's results; with `amount`, as its costs have it, where there is a price list."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        told = {"tenant": row.tenant, "api_key_id": row.key, "model": row.model}
        names = {name: value if name in groups else None for name, value in told.items()}
        result = found.setdefault((row.embeds, *names.values()), _empty(names, row.embeds, prices))
        result["input_tokens"] += row.prompt
        result["num_model_requests"] += row.requests
        if not row.embeds:
            result["input_cached_tokens"] += row.cached
            result["output_tokens"] += row.completion
        if prices is not None:
            result["amount"]["value"] += prices.cost(row)
    if prices is not None:
        for result in found.values():  # a sum of decimals, so that a bill has no digits that nobody has priced
            result["amount"]["value"] = float(result["amount"]["value"])
    return list(found.values())


def _empty(names: Mapping[str, str | None], embeds: bool, prices: PriceList | None) -> dict[str, Any]:
    kind = "embeddings" if embeds else "completions"
    result: dict[str, Any] = {"object": f"organization.usage.{kind}.result", "input_tokens": 0}
    if not embeds:
        result |= {"output_tokens": 0, "input_cached_tokens": 0, "input_audio_tokens": 0, "output_audio_tokens": 0}
    result |= {"num_model_requests": 0, "project_id": None, "user_id": None, **names}
    if not embeds:
        result["batch"] = None
    if prices is not None:
        result["amount"] = {"value": Decimal(), "currency": prices.currency}
    return result


def usage_csv(buckets: Sequence[dict[str, Any]]) -> str:
    """A line for each result; those that are not told apart by a column leave it empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for bucket in buckets:
        times = {"start_time": bucket["start_time"], "end_time": bucket["end_time"]}
        for result in bucket["results"]:
            amount = result.get("amount")
            money = {} if amount is None else {"amount": _number(amount["value"]), "currency": amount["currency"]}
            cells = {**result, **times, "amount": None, **money}
            writer.writerow({name: _cell(cells.get(name)) for name in COLUMNS})
    return out.getvalue()


def _number(value: float) -> str:
    """Without an exponent, which spreadsheets round."""
    return f"{Decimal(repr(value)):f}"


def _cell(value: Any) -> Any:
    """A name that a spreadsheet would compute is a text, by an apostrophe before it, as OWASP has it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


class UsageReport:
    """Of one tenant, or of all."""

    def __init__(self, source: UsageSource, tenant: str | None, prices: PriceList | None) -> None:
        self._source = source
        self._tenant = tenant
        self.prices = prices

    async def buckets(self, *, start: int, end: int, width: int, groups: Collection[str]) -> list[dict[str, Any]]:
        """Every bucket from the one that `start` is in to the one before `end`, those without requests included. groups: what
        results are told apart by, of `tenant`, `api_key_id`, `model`; those of answers and of embeddings always are."""
        first = start - start % width
        query = UsageQuery(start=start, end=end, width=width, tenant=self._tenant)
        rows: dict[int, list[UsageRow]] = {}
        for row in await self._source.usage(query):
            rows.setdefault(row.bucket, []).append(row)
        return [
            {
                "object": "bucket",
                "start_time": at,
                "end_time": at + width,
                "results": results(rows.get(at, ()), groups, self.prices),
            }
            for at in range(first, end, width)
        ]
