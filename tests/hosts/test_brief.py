"""The same three hosts, for every run of `.ci/run`: a host, a direction and the Consul leader are lost while answers run.

Only answers are looked at: none fails, none differs, and every token is in the ledger once. When something is noticed, and
which answers it meets, depends on the machine; tests/hosts/test_hosts.py looks at that.
"""

from collections.abc import Callable

import pytest

from tests.hosts.load import Ledger, asked, loses, until
from tests.hosts.parts import DATA, Host, Hosts

pytestmark = pytest.mark.brief

Undo = Callable[[], None]


def _cut_off(hosts: Hosts, lost: Host) -> Undo:
    hosts.network.unplug(lost.name)
    return lambda: hosts.network.plug(lost.name)


def _cut_off_in_one_direction(hosts: Hosts, lost: Host) -> Undo:
    """What it sends reaches nobody but its clients."""
    far = [*(host.name for host in hosts.others(lost.name)), DATA]
    for each in far:
        hosts.network.silence(lost.name, each)

    def undo() -> None:
        for each in far:
            hosts.network.hear(lost.name, each)

    return undo


def _without_consul(hosts: Hosts, lost: Host) -> Undo:
    lost.kill_consul()
    return lost.start_consul


@pytest.mark.parametrize(
    ("lose", "isolates"),
    [(_cut_off, True), (_cut_off_in_one_direction, True), (_without_consul, False)],
    ids=["its cable is pulled", "it hears but is not heard", "its Consul server, the leader, is killed"],
)
async def test_no_answer_of_the_others_fails_or_differs(
    hosts: Hosts, ledger: Ledger, lose: Callable[[Hosts, Host], Undo], isolates: bool
) -> None:
    lost = hosts.consul_leader()
    assert lost is not None, "they are whole"
    others = hosts.others(lost.name)
    async with asked(hosts, ledger) as answers:
        running = await answers.begin(others)
        undo = lose(hosts, lost)
        try:
            for host in others if isolates else ():
                await until(loses(host, lost.triton), f"{host.name} isolates {lost.triton}")
            await until(lambda: hosts.consul_leader(others) in others, "those that are left have a Consul leader")
            await running.identical()
            await (await answers.begin(others)).identical()
        finally:
            undo()
        await until(hosts.is_whole, "all three hosts see each other again")
        await (await answers.begin(hosts.all)).identical()


async def test_every_token_is_in_the_ledger_once(hosts: Hosts, ledger: Ledger) -> None:
    """Of all answers above."""
    await until(
        lambda: ledger.is_complete(hosts.all[0]),
        "the ledger has what clients received",
        seen=lambda: ledger.beside(hosts.all),
    )
