"""A gateway's part: sides, counts, what it does while the catalog is away."""

import asyncio
from dataclasses import replace

from gateway.errors import CatalogUnavailable
from gateway.rollouts.control import ONE_DEATH_S, RolloutControl, Side
from gateway.rollouts.evidence import Evidence, MirroredAnswer
from gateway.rollouts.rollout import Rollout, RolloutState
from gateway.rollouts.sync import RolloutSync

ROLLOUT = Rollout(id="r", candidate="2.0", share=0.5, started_at=1.0)
SAME, OTHER = MirroredAnswer([1], 0.1, None), MirroredAnswer([2], 0.1, None)


class Catalog:
    """A source that can go away."""

    def __init__(self, rollout: Rollout | None) -> None:
        self.rollout = rollout
        self.revisions = 1
        self.away = False
        self.told: dict[str, Evidence] = {}

    async def revision(self) -> int:
        self._there()
        return self.revisions

    async def newest(self) -> Rollout | None:
        self._there()
        return self.rollout

    async def report(self, rollout_id: str, gateway: str, evidence: Evidence) -> Rollout | None:
        self._there()
        assert self.rollout is not None
        assert rollout_id == self.rollout.id
        self.told[gateway] = evidence
        return replace(self.rollout, evidence=Evidence.total(self.told.values()))

    def change(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.revisions += 1

    def _there(self) -> None:
        if self.away:
            raise CatalogUnavailable("away")


def started(catalog: Catalog) -> tuple[RolloutControl, RolloutSync]:
    control = RolloutControl(lambda: 0.0)
    sync = RolloutSync(control, catalog, "one")
    asyncio.run(sync.look())
    return control, sync


def sides(control: RolloutControl, tenant: str = "a") -> set[Side | None]:
    return {control.side(tenant, each << 60, begins=True) for each in range(16)}


def test_without_a_roll_out_and_after_a_promotion_all_are_alike() -> None:
    control = RolloutControl()
    assert sides(control) == {None}
    control.follow(replace(ROLLOUT, state=RolloutState.PROMOTED))
    assert sides(control) == {None}


def test_a_running_one_gives_both_sides_and_an_ended_one_keeps_the_candidate_out() -> None:
    control = RolloutControl()
    control.follow(ROLLOUT)
    assert sides(control) == set(Side)
    for state in (RolloutState.ROLLED_BACK, RolloutState.ABORTED):
        control.follow(replace(ROLLOUT, state=state))
        assert sides(control) == {Side.BASELINE}
        assert control.still(Side.CANDIDATE) is Side.BASELINE


def test_other_tenants_take_no_part() -> None:
    control = RolloutControl()
    control.follow(replace(ROLLOUT, tenants=frozenset({"a"})))
    assert (sides(control), sides(control, "b")) == (set(Side), {Side.BASELINE})


def test_a_death_is_one_error_however_many_answers_it_took() -> None:
    now = 0.0
    control = RolloutControl(lambda: now)
    control.follow(ROLLOUT)
    for _ in range(8):
        control.record(candidate=True, failed=True, death_of="triton-1")
    assert (control.own.candidate_requests, control.own.candidate_errors) == (1, 1)
    now = ONE_DEATH_S
    control.record(candidate=True, failed=True, death_of="triton-1")
    control.record(candidate=True, failed=True)
    assert control.own.candidate_errors == 3


def test_what_gateways_saw_is_added_up_and_told_once() -> None:
    catalog = Catalog(ROLLOUT)
    catalog.told["two"] = Evidence(baseline_requests=7)
    control, sync = started(catalog)
    for _ in range(3):
        control.record(candidate=True, failed=False)
        asyncio.run(sync.look())
    assert catalog.told["one"] == Evidence(candidate_requests=3)
    assert "3 requests failed, of the others' 0 of 7" in control.judgement.measures[0].seen


def test_while_the_catalog_is_away_what_is_clear_stops_the_candidate_here() -> None:
    catalog = Catalog(ROLLOUT)
    control, sync = started(catalog)
    catalog.away = True
    asyncio.run(sync.look())
    assert sides(control) == set(Side)
    for _ in range(20):
        control.mirror(OTHER, SAME, SAME)
    asyncio.run(sync.look())
    assert control.stopped
    assert sides(control) == {Side.BASELINE}
    catalog.away = False
    asyncio.run(sync.look())
    assert catalog.told["one"].differs == 20


def test_the_next_roll_out_begins_with_nothing() -> None:
    catalog = Catalog(ROLLOUT)
    control, sync = started(catalog)
    control.mirror(OTHER, SAME, SAME)
    asyncio.run(sync.look())
    catalog.told.clear()
    catalog.change(replace(ROLLOUT, id="s"))
    asyncio.run(sync.look())
    assert control.own == Evidence()
    assert catalog.told == {}
