"""What usage costs by a price list, and which lists are none."""

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.environment import ConfigError
from gateway.tenants.usage import PriceList, UsageRow, results, usage_csv

LIST = """
currency: eur
models:
  tiny: {input: 2, cached_input: 0.5, output: 8}
  "*": {input: 1}
"""


def _row(model: str = "tiny", *, tenant: str = "acme", key: str = "k1", embeds: bool = False) -> UsageRow:
    return UsageRow(0, embeds, tenant, key, model, 1, 1_000_000, 400_000, 250_000)


@pytest.fixture
def prices(tmp_path: Path) -> PriceList:
    file = tmp_path / "prices.yaml"
    file.write_text(LIST)
    return PriceList.read(file)


def test_cached_tokens_have_a_price_of_their_own_where_one_is_named(prices: PriceList) -> None:
    assert prices.cost(_row()) == Decimal("3.4")
    assert prices.cost(_row("any other")) == 1
    assert PriceList("usd", {}).cost(_row()) == 0


@pytest.mark.parametrize(
    ("groups", "amounts"),
    [
        ((), [7.8]),
        (("tenant",), [4.4, 3.4]),
        (("api_key_id",), [4.4, 3.4]),
        (("model",), [6.8, 1.0]),
        (("tenant", "model"), [3.4, 1.0, 3.4]),
    ],
)
def test_amounts_of_what_is_told_apart(prices: PriceList, groups: tuple[str, ...], amounts: list[float]) -> None:
    rows = [_row(), _row("other"), _row(tenant="globex", key="k2")]
    found = results(rows, groups, prices)
    assert [each["amount"]["value"] for each in found] == pytest.approx(amounts)
    assert {each["amount"]["currency"] for each in found} == {"eur"}
    sheet = usage_csv([{"start_time": 0, "end_time": 60, "results": found}]).splitlines()
    assert [float(line.split(",")[-2]) for line in sheet[1:]] == pytest.approx(amounts)


def test_a_bill_has_no_digits_that_nobody_has_priced() -> None:
    """Of 0.1 a million, three times: 0.3 of it, and not 0.30000000000000004; nor is a little of it 3e-07."""
    prices = PriceList("usd", {"*": {"input": Decimal("0.1")}})
    rows = [UsageRow(0, False, "a", "k", "m", 1, tokens, 0, 0) for tokens in (1_000_000, 1_000_000, 1_000_000, 3)]
    for chosen, amount in ((rows[:3], "0.3"), (rows[3:], "0.0000003"), (rows, "0.3000003")):
        found = results(chosen, (), prices)
        (line,) = usage_csv([{"start_time": 0, "end_time": 60, "results": found}]).splitlines()[1:]
        assert line.split(",")[-2] == amount
        assert found[0]["amount"]["value"] == float(amount)


@given(name=st.text(min_size=1), key=st.text(), model=st.text())
def test_a_name_is_no_formula_and_stays_in_its_cell(name: str, key: str, model: str) -> None:
    found = results([UsageRow(0, False, name, key, model, 1, 1, 0, 0)], ("tenant", "api_key_id", "model"), None)
    sheet = usage_csv([{"start_time": 0, "end_time": 60, "results": found}])
    (line,) = csv.DictReader(io.StringIO(sheet, newline=""))
    for column, given_text in (("tenant", name), ("api_key_id", key), ("model", model)):
        assert line[column] in (given_text, f"'{given_text}")
        assert not line[column].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_texts_that_were_embedded_cost_what_was_read(prices: PriceList) -> None:
    row = UsageRow(0, True, "acme", "k1", "tiny", 1, 1_000_000, 0, 0)
    (result,) = results([row], (), prices)
    assert result["object"] == "organization.usage.embeddings.result"
    assert result["amount"] == {"value": pytest.approx(2.0), "currency": "eur"}


def test_without_a_list_there_is_no_amount() -> None:
    (result,) = results([_row()], (), None)
    assert "amount" not in result


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "models",
            "models: 3",
            "models: {tiny: 3}",
            "models: {tiny: {input: many}}",
            "models: {tiny: {inputs: 1}}",
        ),
        *("models: {tiny: {input: -1}}", "models: {tiny: {input: .inf}}", "models: {tiny: {input: .nan}}", "a: [b"),
    ],
)
def test_what_is_no_price_list_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="prices"):
        PriceList.read(file)
