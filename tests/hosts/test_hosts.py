"""Three hosts, each with a Consul server, a gateway and a Triton under its worker; PostgreSQL and Milvus on a fourth.

A host is lost in each way that networks have. No accepted answer fails or differs, and what was lost comes back by itself.
"""

import asyncio

import pytest

from tests.hosts.conftest import Times
from tests.hosts.load import asked, left, loses, until
from tests.hosts.parts import HOSTS, Host, Hosts

TRIES = 4
"""On a busy machine the answers of the lost instance may have ended just before it is lost: then again."""


async def _isolated(by: list[Host], lost: str) -> float:
    """Until none of these gateways gives that instance work; seconds of the slowest."""
    return max(await asyncio.gather(*(until(loses(host, lost), f"{host.name} isolates {lost}") for host in by)))


async def _elected(hosts: Hosts, among: list[Host]) -> float:
    """Until these have a Consul leader that is one of them."""
    return await until(lambda: hosts.consul_leader(among) in among, "those that are left have a Consul leader")


async def _whole_again(hosts: Hosts) -> float:
    return await until(hosts.is_whole, "all three hosts see each other again")


@pytest.mark.parametrize("name", HOSTS)
async def test_a_host_is_cut_off(hosts: Hosts, times: Times, name: str) -> None:
    """Its cable is pulled. One of the three is the Consul leader's."""
    lost, others = hosts.named(name), hosts.others(name)
    leads = hosts.consul_leader() is lost
    what = f"{name} cut off{', the Consul leader' if leads else ''}"
    async with asked(hosts) as answers:
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
