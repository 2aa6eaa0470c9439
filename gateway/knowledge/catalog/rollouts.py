"""Roll-outs in SQL, which all gateways agree on. What they have seen comes together here, and is judged in one transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.audit import AuditTrail
from gateway.knowledge.catalog.database import Database, new_id
from gateway.rollouts.evidence import Evidence
from gateway.rollouts.judge import JudgeOptions, Verdict, judge
from gateway.rollouts.rollout import END_OF_VERDICT, Rollout, RolloutState, describe, read_options

_rollouts, _revisions = schema.rollouts, schema.revisions
REVISION = "rollouts"
"""The row of `revisions` that each start and end raises."""
MOST_SHARE = 0.5
"""Of the requests. Beyond it there is too little left to compare with."""


class Rollouts:
    """The newest one counts; at most one runs. Every method raises CatalogUnavailable."""

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        chosen = select(_revisions.c.value).where(_revisions.c.name == text(f"'{REVISION}'"))
        self._revision = database.prepared(chosen)

    async def revision(self) -> int:
        """Raised by each start and end; 0 before the first."""
        return int(await self._database.scalar_prepared(self._revision) or 0)

    async def newest(self) -> Rollout | None:
        """None where there never was one."""
        async with self._database.read() as connection:
            row = await _newest(connection)
        return None if row is None else _read(row)

    async def start(
        self, candidate: str, *, share: float, tenants: Iterable[str], options: JudgeOptions, actor: str
    ) -> Rollout:
        """Begin to send a share of the requests to the candidate. Raises BadRequest, and Conflict while another one runs."""
        if not candidate:
            raise BadRequest("Name the candidate: a version or an engine.", param="candidate")
        if not 0 < share <= MOST_SHARE:
            raise BadRequest(f"The share must be above 0 and at most {MOST_SHARE:.0%}.", param="share")
        async with self._database.write() as connection:
            await self._database.alone(connection)
            row = await _newest(connection)
            if row is not None and row.state == RolloutState.RUNNING:
                raise Conflict(f"The roll-out of {row.candidate!r} still runs: promote or abort it first.")
            started_at = self._database.clock()
            if row is not None:  # clocks of two machines: the newest must be the last one
                started_at = max(started_at, row.started_at + 0.001)
            made = Rollout(
                id=new_id("rollout_"),
                candidate=candidate,
                share=share,
                tenants=frozenset(tenants),
                options=options,
                started_at=started_at,
            )
            values = {
                "id": made.id,
                "candidate": candidate,
                "share": share,
                "tenants": sorted(made.tenants),
                "options": asdict(options),
                "state": made.state.value,
                "reason": "",
                "started_at": started_at,
                "ended_at": None,
                "evidence": {},
            }
            await connection.execute(_rollouts.insert().values(values))
            await self._changed(connection, "rollout.start", made, actor=actor, before=None)
        return made

    async def end(self, state: RolloutState, *, actor: str) -> Rollout:
        """A person's word: PROMOTED or ABORTED. One that was rolled back or aborted can still be promoted. Raises NotFound, and
        Conflict for one that cannot become so."""
        async with self._database.write() as connection:
            row = await _newest(connection, lock=True)
            if row is None:
                raise NotFound("There never was a roll-out.")
            found = _read(row)
            if found.state is state:
                return found
            if not found.running and state is not RolloutState.PROMOTED:
                raise Conflict(f"The roll-out of {found.candidate!r} does not run: it is {found.state.value}.")
            return await self._end(connection, found, state, reason=f"by {actor}", actor=actor)

    async def report(self, rollout_id: str, gateway: str, evidence: Evidence) -> Rollout | None:
        """What a gateway has seen of a roll-out since it began. A verdict ends it here, once. Gives what counts then."""
        async with self._database.write() as connection:
            row = await _newest(connection, lock=True)
            if row is None:
                return None
            if row.id != rollout_id or row.state != RolloutState.RUNNING:
                return _read(row)
            parts: dict[str, Any] = {**row.evidence, gateway: asdict(evidence)}
            chosen = _rollouts.c.id == rollout_id
            await connection.execute(update(_rollouts).where(chosen).values(evidence=parts))
            found = replace(_read(row), evidence=_total(parts))
            judgement = judge(found.evidence, found.options)
            if judgement.verdict is Verdict.CONTINUE:
                return found
            state = END_OF_VERDICT[judgement.verdict]
            return await self._end(connection, found, state, reason=judgement.reason, actor=f"gateway:{gateway}")

    async def _end(
        self, connection: AsyncConnection, rollout: Rollout, state: RolloutState, *, reason: str, actor: str
    ) -> Rollout:
        ended = replace(rollout, state=state, reason=reason, ended_at=self._database.clock())
        values = {"state": state.value, "reason": reason, "ended_at": ended.ended_at}
        await connection.execute(update(_rollouts).where(_rollouts.c.id == rollout.id).values(values))
        acts = {RolloutState.PROMOTED: "promote", RolloutState.ROLLED_BACK: "roll_back", RolloutState.ABORTED: "abort"}
        await self._changed(connection, f"rollout.{acts[state]}", ended, actor=actor, before=rollout)
        return ended

    async def _changed(
        self, connection: AsyncConnection, act: str, rollout: Rollout, *, actor: str, before: Rollout | None
    ) -> None:
        insert = self._database.insert(_revisions).values(name=REVISION, value=1)
        one_more = {"value": _revisions.c.value + 1}
        await connection.execute(insert.on_conflict_do_update(index_elements=[_revisions.c.name], set_=one_more))
        await self._trail.write(
            connection,
            actor=actor,
            act=act,
            subject=f"rollout:{rollout.candidate}",
            before=None if before is None else describe(before),
            after=describe(rollout),
        )


async def _newest(connection: AsyncConnection, *, lock: bool = False) -> Row[Any] | None:
    query = select(_rollouts).order_by(_rollouts.c.started_at.desc()).limit(1)
    return (await connection.execute(query.with_for_update() if lock else query)).one_or_none()


def _read(row: Row[Any]) -> Rollout:
    values = dict(row._mapping)
    return Rollout(
        **{
            **values,
            "tenants": frozenset(values["tenants"]),
            "options": read_options(values["options"]),
            "state": RolloutState(values["state"]),
            "evidence": _total(values["evidence"]),
        }
    )


def _total(parts: Mapping[str, Mapping[str, Any]]) -> Evidence:
    return Evidence.total(Evidence.read(each) for each in parts.values())
