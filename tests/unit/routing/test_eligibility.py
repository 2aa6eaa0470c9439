"""Who may serve a job at all, and what is said when nobody may."""

import pytest

from gateway.routing import NoInstance, Why, policies
from tests.unit.routing.small_fleet import Fleet, instance, load

EVERY = sorted(policies.BY_NAME)


def refusal(fleet: Fleet, prompt: int = 256, exclude: frozenset[str] = frozenset(), **job: object) -> NoInstance:
    """Why nobody takes the job."""
    with pytest.raises(NoInstance) as caught:
        fleet.placer.place(fleet.job(prompt, **job), exclude)
    return caught.value


@pytest.mark.parametrize("policy", EVERY)
def test_every_policy_keeps_to_the_filters(policy: str) -> None:
    fleet = Fleet(
        policy,
        5,
        instances={
            0: instance(0, model="other"),
            1: instance(1, max_context=512),
            2: instance(2, tenant_classes=frozenset({"gold"}), loras=frozenset({"law"})),
            3: instance(3, loras=frozenset({"law"})),
        },
    )
    fleet.change(4, draining=True)
    assert {fleet.place(1000, lora="law", tenant_class="tin").instance.name for _ in range(20)} == {"triton-3"}


@pytest.mark.parametrize("policy", EVERY)
def test_the_instances_that_failed_a_request_are_not_asked_again(policy: str) -> None:
    fleet = Fleet(policy)
    failed = frozenset({"triton-0", "triton-2"})
    assert {fleet.placer.place(fleet.job(), failed).instance.name for _ in range(20)} == {"triton-1"}
    error = refusal(fleet, exclude=failed | {"triton-1"})
    assert error.why is Why.ALL_FAILED
    assert "triton-1" in str(error)


@pytest.mark.parametrize("policy", EVERY)
def test_unhealthy_and_draining_instances_get_nothing_until_they_are_back(policy: str) -> None:
    fleet = Fleet(policy, 2)
    fleet.change(0, healthy=False)
    assert {fleet.place().instance.name for _ in range(10)} == {"triton-1"}
    fleet.change(1, draining=True)
    assert refusal(fleet).why is Why.NONE_SERVING
    fleet.change(0, healthy=True)
    assert fleet.place().instance.name == "triton-0"


def test_the_reason_names_the_filter_and_its_numbers() -> None:
    kept = instance(0, tenant_classes=frozenset({"gold"}), loras=frozenset({"law"}))
    fleet = Fleet("predicted_ttft", 1, instances={0: kept})
    gold = {"tenant_class": "gold"}
    unknown = refusal(fleet, model="nobody")
    assert (unknown.why, "nobody" in str(unknown), "llm" in str(unknown)) == (Why.UNKNOWN_MODEL, True, True)
    long = refusal(fleet, 5000, **gold)
    assert long.why is Why.CONTEXT_TOO_LONG
    assert "5064" in str(long)
    assert "4096" in str(long)
    lora = refusal(fleet, lora="code", **gold)
    assert (lora.why, "'code'" in str(lora)) == (Why.NO_LORA, True)
    tin = refusal(fleet, tenant_class="tin")
    assert (tin.why, "'tin'" in str(tin)) == (Why.TENANT_CLASS, True)
    assert fleet.place(lora="law", **gold).instance.name == "triton-0"


def test_a_request_larger_than_the_whole_kv_cache_goes_where_it_fits() -> None:
    fleet = Fleet("predicted_ttft", 2)
    fleet.change(0, load=load(kv_max_blocks=16))
    assert {fleet.place(1000).instance.name for _ in range(10)} == {"triton-1"}
    fleet.change(1, load=load(kv_max_blocks=16))
    error = refusal(fleet, 1000)
    assert error.why is Why.NO_KV_ROOM
    assert "512" in str(error)


def test_the_same_prompt_under_another_adapter_shares_no_cache() -> None:
    both = {n: instance(n, loras=frozenset({"law", "code"})) for n in range(3)}
    fleet = Fleet("predicted_ttft", instances=both)
    prompt = list(range(1024))
    first = fleet.place(prompt, lora="law")
    fleet.serve(first, 0.2)
    assert fleet.place(prompt, lora="law").choice.cached_tokens > 900
    assert fleet.place(prompt, lora="code").choice.cached_tokens == 0
