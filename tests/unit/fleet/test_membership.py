"""Consul's entries as members, and belief after an outage."""

from typing import Any, ClassVar

import pytest

from gateway.fleet.consul_health import OutageGrace, read_entries
from gateway.fleet.view import FleetMember, Instance


def entry(
    name: str = "triton-0", *, node: str = "n1", meta: dict[str, str] | None = None, **checks: Any
) -> dict[str, Any]:
    """One entry of /v1/health/service; `checks` are statuses, or (status, output) pairs, by short id."""
    told = {"serfHealth": "passing", f"service:{name}:ready": "passing", f"service:{name}:worker": "passing"}
    told |= {f"service:{name}:{k}" if k in ("ready", "worker") else k: v for k, v in checks.items()}
    listed = []
    for check_id, value in told.items():
        if value is not None:
            status, output = value if isinstance(value, tuple) else (value, "")
            listed.append({"CheckID": check_id, "Name": check_id.split(":")[-1], "Status": status, "Output": output})
    base = {"grpc_port": "8102", "metrics_port": "8103", "model": "m", "slots": "4", "max_context": "4096"}
    return {
        "Node": {"Node": node, "Address": "10.0.0.1"},
        "Service": {"ID": name, "Address": "10.0.0.9", "Port": 8101, "Meta": base | (meta or {})},
        "Checks": listed,
    }


def only(one: dict[str, Any]) -> FleetMember:
    return next(iter(read_entries([one]).values())).member


def test_a_passing_entry() -> None:
    member = only(
        entry(meta={"engine": "llama.cpp", "flavour": "default", "device": "gpu", "version": "1", "loras": "x, y"})
    )
    assert member == FleetMember(
        Instance(
            "triton-0", "10.0.0.9", 8101, 8102, 8103, "m", "llama.cpp", "default", "gpu", 4, 4096, "1", frozenset("xy")
        )
    )


def test_the_nodes_address_stands_in_for_a_missing_one() -> None:
    one = entry()
    one["Service"]["Address"] = ""
    assert only(one).instance.address == "10.0.0.1"


@pytest.mark.parametrize("status", ["critical", "warning"])
@pytest.mark.parametrize("check", ["ready", "worker", "serfHealth"])
def test_any_check_that_does_not_pass_makes_it_unhealthy(check: str, status: str) -> None:
    member = only(entry(**{check: (status, "dial tcp:\n refused")}))
    assert (member.healthy, member.draining) == (False, False)
    assert member.reason == f"{check} is {status}: dial tcp: refused"


def test_maintenance_is_draining_and_gives_its_reason() -> None:
    one = entry()
    one["Checks"].append(
        {"CheckID": "_service_maintenance:triton-0", "Status": "critical", "Notes": "rolling restart", "Output": ""}
    )
    member = only(one)
    assert (member.healthy, member.draining, member.reason) == (False, True, "draining: rolling restart")


def test_a_nodes_maintenance_drains_and_other_faults_are_still_told() -> None:
    member = only(entry(_node_maintenance=("critical", ""), ready=("critical", "timeout")))
    assert member.draining
    assert member.reason == "draining: maintenance; ready is critical: timeout"


def test_half_registered_is_not_healthy() -> None:
    member = only(entry(ready=None))
    assert (member.healthy, member.reason) == (False, "check 'ready' is not registered")


@pytest.mark.parametrize("raw", ["", "x", "-1", "²"])
def test_unusable_meta_is_visible_as_a_reason(raw: str) -> None:
    member = only(entry(meta={"metrics_port": raw}))
    assert not member.healthy
    assert "metrics_port" in member.reason


def test_optional_meta_has_defaults() -> None:
    one = entry()
    one["Service"]["Meta"] = {"grpc_port": "1", "metrics_port": "2"}
    assert only(one).healthy
    assert only(one).instance.slots == 1
    one["Service"]["Meta"]["slots"] = "many"
    assert not only(one).healthy


def test_an_id_that_two_nodes_use_is_told_apart() -> None:
    said = read_entries([entry(node="n2"), entry(node="n1"), entry("triton-1")])
    assert list(said) == ["triton-0@n1", "triton-0@n2", "triton-1"]
    assert all(s.member.healthy for s in said.values())
    assert said["triton-0@n2"].member.instance.name == "triton-0@n2"


def test_a_reason_has_bounds() -> None:
    assert len(only(entry(ready=("critical", "x" * 10_000))).reason) <= 300


class TestAfterglow:
    """What is believed after an outage, and for how long."""

    good: ClassVar = {
        n: s.member for n, s in read_entries([entry("a"), entry("b"), entry("c", ready="critical")]).items()
    }

    def outage(self, hold_s: float = 20) -> OutageGrace:
        afterglow = OutageGrace(hold_s)
        afterglow.interrupted(self.good)
        afterglow.resumed(100.0)
        return afterglow

    def test_without_an_outage_consul_is_taken_at_its_word(self) -> None:
        assert OutageGrace().apply({}, 5.0) == {}
        assert OutageGrace().until is None

    def test_the_forgotten_and_the_critical_stay_who_were_healthy_before(self) -> None:
        said = read_entries([entry("b", ready="critical", worker=("critical", "TTL expired (last output: queue 0)"))])
        members = self.outage().apply(said, 101.0)
        assert {n: m.healthy for n, m in members.items()} == {"a": True, "b": True}
        assert members["a"].reason == "believed since Consul was away; now: not registered"
        assert "ready is critical" in members["b"].reason

    def test_belief_ends(self) -> None:
        afterglow = self.outage(hold_s=20)
        assert afterglow.until == 120.0
        assert set(afterglow.apply({}, 119.9)) == {"a", "b"}
        assert afterglow.apply({}, 120.0) == {}
        assert afterglow.until is None

    def test_a_drain_counts_at_once_and_ends_belief(self) -> None:
        grace = self.outage()
        drained = entry("b", _node_maintenance=("critical", ""))
        members = grace.apply(read_entries([entry("a"), drained]), 101.0)
        assert members["a"] == self.good["a"]
        assert members["b"].draining
        assert "b" not in grace.apply(read_entries([entry("a")]), 102.0)

    def test_a_good_word_counts_at_once_but_may_be_older_than_the_restart(self) -> None:
        grace = self.outage()
        assert grace.apply(read_entries([entry("a")]), 101.0)["a"] == self.good["a"]  # out of Consul's log
        not_run_yet = read_entries([entry("a", ready="critical")])  # the agent's own word, before its first check
        later = grace.apply(not_run_yet, 102.0)["a"]
        assert later.healthy
        assert "ready is critical" in later.reason
        assert not grace.apply(not_run_yet, 120.0)["a"].healthy

    def test_a_failed_test_counts_at_once(self) -> None:
        refused = entry("a", ready=("critical", "connection refused"), worker=("critical", "TTL expired"))
        assert not self.outage().apply(read_entries([refused]), 101.0)["a"].healthy

    def test_one_that_registered_anew_elsewhere_is_judged_anew(self) -> None:
        moved = entry("a", meta={"metrics_port": "9999"}, ready="critical")
        assert not self.outage().apply(read_entries([moved]), 101.0)["a"].healthy

    def test_a_second_outage_does_not_forget_the_first(self) -> None:
        afterglow = self.outage(hold_s=20)
        believed = afterglow.apply({}, 110.0)
        afterglow.interrupted(believed)
        assert set(afterglow.apply({}, 1000.0)) == {"a", "b"}
        afterglow.resumed(1000.0)
        assert set(afterglow.apply({}, 1019.0)) == {"a", "b"}
        assert afterglow.apply({}, 1020.0) == {}
