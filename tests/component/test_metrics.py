"""What Prometheus reads of a gateway: GenAI's names, objectives, exemplars, and a bound on what others can name."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.capped_metrics import SERIES
from gateway.metrics import Metrics
from tests.support.running import MODEL, Fleet

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


async def samples(fleet: Fleet) -> dict[str, list[Any]]:
    reply = await fleet.get("/metrics", headers={"Accept": OPENMETRICS})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(reply.raw.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


async def test_an_answer_is_counted_by_genai_names_and_keeps_its_objectives(fleet: Fleet) -> None:
    reply = await fleet.chat("Hello", max_tokens=5)
    found = await samples(fleet)
    (duration,) = found["gen_ai_server_request_duration_seconds_count"]
    assert (duration.value, duration.labels["gen_ai_request_model"], duration.labels["error_type"]) == (1, MODEL, "")
    assert found["gen_ai_server_time_to_first_token_seconds_count"][0].value == 1
    assert found["gen_ai_server_time_per_output_token_seconds_count"][0].value == 1
    tokens = {each.labels["gen_ai_token_type"]: each.value for each in found["gen_ai_client_token_usage_sum"]}
    usage = reply.json["usage"]
    assert tokens == {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
    events = {each.labels["slo"]: each.value for each in found["ragfleet_slo_events_total"]}
    assert events == {"availability": 1, "ttft": 1, "inter_token_latency": 1}
    assert {each.labels["slo"] for each in found["ragfleet_slo_breaches_total"]} == events.keys()


async def test_what_the_client_did_wrong_breaks_no_promise_and_what_we_did_does(fleet: Fleet) -> None:
    assert (await fleet.chat("Hello", max_tokens=-1)).status == 400
    assert "ragfleet_slo_events_total" not in await samples(fleet)
    for triton in fleet.tritons:
        await triton.kill()
    assert (await fleet.chat("Hello")).status >= 500
    (breach,) = (await samples(fleet))["ragfleet_slo_breaches_total"]
    assert (breach.labels, breach.value) == ({"slo": "availability", "tenant_class": "default"}, 1)


@given(version=st.one_of(st.text("0123456789.,rc+;= ", max_size=8), st.text(max_size=8)))
def test_whatever_version_is_asked_for_there_is_an_exposition(version: str) -> None:
    for kind in ("application/openmetrics-text", "text/plain"):
        text, content_type = Metrics().render(f"{kind}; version={version}; escaping={version}")
        assert text
        assert content_type.startswith(("application/openmetrics-text", "text/plain"))


async def test_models_that_nobody_has_are_one_series(fleet: Fleet) -> None:
    for number in range(5):
        await fleet.chat("Hello", model=f"made-up-{number}")
    models = {each.labels["model"] for each in (await samples(fleet))["ragfleet_requests_total"]}
    assert models <= {"", "unknown"}


def test_names_beyond_the_bound_are_told_as_others() -> None:
    metrics = Metrics()
    for number in range(SERIES + 50):
        metrics.tokens.labels(f"tenant-{number}", "prompt").inc()
    metrics.tokens.labels("tenant-7", "prompt").inc()
    (family,) = metrics.tokens.collect()
    values = {each.labels["tenant"]: each.value for each in family.samples if each.name.endswith("_total")}
    assert len(values) == SERIES + 1
    assert (values["other"], values["tenant-7"]) == (50, 2)


async def test_an_observation_names_its_trace(start: Callable[..., Any]) -> None:
    fleet = await start(trace_endpoint="http://127.0.0.1:1", trace_sample=1.0)
    trace = "0af7651916cd43dd8448eb211c80319c"
    await fleet.chat("Hello", max_tokens=3, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    found = await samples(fleet)
    named = [each.exemplar.labels for each in found["ragfleet_time_to_first_token_seconds_bucket"] if each.exemplar]
    assert named == [{"trace_id": trace}]
    await fleet.gateway.tracing.close()
