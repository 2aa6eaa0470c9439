"""Three hosts, each with a Consul server, a gateway and a Triton under its worker; PostgreSQL and Milvus on a fourth.

A host is lost in each way that networks have. No accepted answer fails or differs, and what was lost comes back by itself.
"""

import asyncio
import time
from collections.abc import Sequence

import pytest

from tests.hosts.conftest import Times
from tests.hosts.load import STREAMS, Ledger, asked, left, loses, until
from tests.hosts.parts import DATA, HOSTS, Host, Hosts

TRIES = 4
"""On a busy machine the answers of the lost instance may have ended just before it is lost: then again."""


async def _isolated(by: Sequence[Host], lost: str) -> float:
    """Until none of these gateways gives that instance work; seconds of the slowest."""
    return max(await asyncio.gather(*(until(loses(host, lost), f"{host.name} isolates {lost}") for host in by)))


async def _elected(hosts: Hosts, among: Sequence[Host]) -> float:
    """Until these have a Consul leader that is one of them."""
    return await until(lambda: hosts.consul_leader(among) in among, "those that are left have a Consul leader")


async def _whole_again(hosts: Hosts) -> float:
    return await until(hosts.is_whole, "all three hosts see each other again")


@pytest.mark.parametrize("name", HOSTS)
async def test_a_host_is_cut_off(hosts: Hosts, times: Times, ledger: Ledger, name: str) -> None:
    """Its cable is pulled. One of the three is the Consul leader's."""
    lost, others = hosts.named(name), hosts.others(name)
    leads = hosts.consul_leader() is lost
    what = f"{name} cut off{', the Consul leader' if leads else ''}"
    async with asked(hosts, ledger) as answers:
        for _ in range(TRIES):
            running = await answers.begin(others)
            hosts.network.unplug(name)
            try:
                isolated, elected = await asyncio.gather(_isolated(others, lost.triton), _elected(hosts, others))
                seen = await running.identical()
                meanwhile = await (await answers.begin(others)).identical()
            finally:
                hosts.network.plug(name)
            rejoined = await _whole_again(hosts)
            assert left(meanwhile, lost.triton) == 0
            if moved := left(seen, lost.triton):
                break
        else:
            pytest.fail("no cut met a running answer")
        after = await (await answers.begin([lost])).identical()
    times.note(
        what, answers=len(seen) + len(meanwhile) + len(after), failed=0, moved=moved,
        isolated_s=isolated, leader_s=elected if leads else "", rejoined_s=rejoined,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["the Consul leader", "another"])
@pytest.mark.parametrize("hears", [True, False])
async def test_a_host_is_cut_off_in_one_direction(
    hosts: Hosts, times: Times, ledger: Ledger, name: str, hears: bool
) -> None:
    """From the other hosts, but not from its clients: its gateway serves them with what it has."""
    leader = hosts.consul_leader()
    assert leader is not None
    lost = leader if name == "the Consul leader" else hosts.others(leader.name)[0]
    others = hosts.others(lost.name)
    far = [*(host.name for host in others), DATA]
    pairs = [(lost.name, each) if hears else (each, lost.name) for each in far]
    async with asked(hosts, ledger) as answers:
        running = await answers.begin(hosts.all)
        for sender, receiver in pairs:
            hosts.network.silence(sender, receiver)
        try:
            isolated, elected, *_ = await asyncio.gather(
                _isolated(others, lost.triton),
                _elected(hosts, others),
                *(_isolated([lost], each.triton) for each in others),
            )
            seen = await running.identical()
            meanwhile = await (await answers.begin(hosts.all)).identical()
        finally:
            for sender, receiver in pairs:
                hosts.network.hear(sender, receiver)
        rejoined = await _whole_again(hosts)
        after = await (await answers.begin(hosts.all)).identical()
    times.note(
        f"{lost.name} {'hears but is not heard' if hears else 'is heard but hears nothing'}, {name}",
        answers=len(seen) + len(meanwhile) + len(after), failed=0, moved=sum(each.moved for each in seen),
        isolated_s=isolated, leader_s=elected, rejoined_s=rejoined,
    )  # fmt: skip


async def test_one_host_does_not_reach_one_other(hosts: Hosts, times: Times, ledger: Ledger) -> None:
    """And both reach the third: only the two of them give each other no work."""
    one, other, third = hosts.all
    async with asked(hosts, ledger) as answers:
        running = await answers.begin(hosts.all)
        hosts.network.silence(one.name, other.name)
        try:
            isolated = await _isolated([one], other.triton)
            seen = await running.identical()
            meanwhile = await (await answers.begin(hosts.all)).identical()
            assert {each["state"] for each in third.instances().values()} == {"ready"}
        finally:
            hosts.network.hear(one.name, other.name)
        rejoined = await _whole_again(hosts)
    times.note(
        f"{one.name} does not reach {other.name}", answers=len(seen) + len(meanwhile), failed=0,
        moved=sum(each.moved for each in seen), isolated_s=isolated, rejoined_s=rejoined,
    )  # fmt: skip


async def test_the_consul_leader_is_killed(hosts: Hosts, times: Times, ledger: Ledger) -> None:
    leader = hosts.consul_leader()
    assert leader is not None
    async with asked(hosts, ledger) as answers:
        running = await answers.begin(hosts.all)
        leader.kill_consul()
        try:
            elected = await _elected(hosts, hosts.others(leader.name))
            seen = await running.identical()
            meanwhile = await (await answers.begin(hosts.all)).identical()
        finally:
            leader.start_consul()
        rejoined = await _whole_again(hosts)
    times.note(
        f"Consul of {leader.name} killed, the leader", answers=len(seen) + len(meanwhile), failed=0,
        moved=sum(each.moved for each in seen), leader_s=elected, rejoined_s=rejoined,
    )  # fmt: skip


async def test_the_host_of_the_data_is_cut_off(hosts: Hosts, times: Times, ledger: Ledger) -> None:
    """The bare model answers tenants without limits, and what they used is written when the database is back."""
    async with asked(hosts, ledger) as answers:
        running = await answers.begin(hosts.all)
        hosts.network.unplug(DATA)
        try:
            seen = await running.identical()
            meanwhile = await (await answers.begin(hosts.all)).identical()
        finally:
            hosts.network.plug(DATA)
    written = await until(
        lambda: ledger.is_complete(hosts.all[0]), "the ledger has what was used", seen=lambda: ledger.beside(hosts.all)
    )
    await _whole_again(hosts)
    times.note(
        "PostgreSQL and Milvus cut off", answers=len(seen) + len(meanwhile), failed=0,
        moved=sum(each.moved for each in seen), rejoined_s=written,
    )  # fmt: skip


async def test_the_network_is_slow(hosts: Hosts, times: Times, ledger: Ledger) -> None:
    """100 ms for the way there and back, and one frame of a hundred is lost."""
    async with asked(hosts, ledger) as answers:
        with hosts.network.slow(delay_ms=50, jitter_ms=10, loss=0.01):
            seen = await (await answers.begin(hosts.all)).identical()
        rejoined = await _whole_again(hosts)
    times.note("slow network", answers=len(seen), failed=0, moved=sum(each.moved for each in seen), rejoined_s=rejoined)


async def test_clients_of_a_gateway_that_is_cut_off_go_on_at_another(
    hosts: Hosts, times: Times, ledger: Ledger
) -> None:
    """Streams with a journal: each event once, in order, and the text that nothing disturbed."""
    lost = hosts.others(hosts.all[0].name)[0]
    async with asked(hosts, ledger) as answers:
        chats = await answers.begin_resuming([lost, *hosts.others(lost.name)])
        cut = time.monotonic()
        hosts.network.unplug(lost.name)
        try:
            await chats.ended()
        finally:
            hosts.network.plug(lost.name)
        rejoined = await _whole_again(hosts)
        assert [chat.seen.error for chat in chats.chats] == [None] * STREAMS
        assert all(chat.is_whole for chat in chats.chats)
        assert [chat.seen.text for chat in chats.chats] == [seen.text for seen in answers.alone]
    times.note(
        f"{lost.name} cut off, its own clients", answers=STREAMS, failed=0,
        moved=sum(bool(chat.resumed_at) for chat in chats.chats),
        resumed_s=round(max(chat.resumed_at for chat in chats.chats) - cut, 2), rejoined_s=rejoined,
    )  # fmt: skip


async def test_every_token_is_in_the_ledger_once(hosts: Hosts, ledger: Ledger) -> None:
    """Of all answers above."""
    await until(
        lambda: ledger.is_complete(hosts.all[0]),
        "the ledger has what clients received",
        seen=lambda: ledger.beside(hosts.all),
    )
