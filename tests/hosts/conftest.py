"""Three hosts for `make test-hosts` and `make test-hosts-brief`: made once, and each test leaves them whole.

The times that were seen are told at the end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.report import Figure, print_table, write_json
from ragfleet import consul_binary
from ragfleet.paths import cache_folder, home_from_environment
from tests.fleet.real_parts import eventually
from tests.hosts.load import Ledger
from tests.hosts.parts import Hosts, three_hosts
from tests.support.hosts_network import unavailable


class Times:
    """What each test saw, by what it did: counts, and seconds."""

    COLUMNS = ("answers", "failed", "moved", "isolated_s", "leader_s", "resumed_s", "rejoined_s")

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, object]] = {}

    def note(self, what: str, **figures: object) -> None:
        """Figures of one test; those of an earlier note of the same stay."""
        self.rows.setdefault(what, {}).update(figures)

    def tell(self) -> None:
        """A table, and var/bench/hosts.json."""
        if not self.rows:
            return
        totals = {each: sum(int(str(row.get(each, 0))) for row in self.rows.values()) for each in ("answers", "failed")}
        claim = f"of {totals['answers']} answers of three hosts over {len(self.rows)} losses, those that failed"
        write_json("hosts", {"rows": self.rows}, figures=[Figure(claim, totals["failed"], at_most=0)])
        rows = [[what, *(figures.get(each, "") for each in self.COLUMNS)] for what, figures in self.rows.items()]
        print_table("Three hosts: what clients noticed, and seconds", ["what", *self.COLUMNS], rows)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder makes hosts."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.hosts)
            item.add_marker(pytest.mark.timeout(900))  # the first one waits for three hosts


@pytest.fixture(scope="session")
def times(request: pytest.FixtureRequest) -> Iterator[Times]:
    """Kept over all tests."""
    found = Times()
    yield found
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print()
        found.tell()


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """Of all tests."""
    return Ledger()


@pytest.fixture(scope="session")
def started_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts, each with all of its parts ready."""
    if why := unavailable():
        pytest.skip(why)
    try:
        consul = consul_binary.obtain(cache_folder()).path
    except consul_binary.ConsulMissingError as error:
        pytest.skip(str(error))
    tokenizer = home_from_environment().tokenizer
    if not (tokenizer / "tokenizer.json").is_file():
        pytest.skip("there is no tokenizer of the model yet (ragfleet setup)")
    with three_hosts(tmp_path_factory.mktemp("hosts"), consul=consul, tokenizer=tokenizer) as hosts:
        try:
            eventually(hosts.is_whole, "three hosts that all see each other", patience=300)
        except BaseException:
            print("\n".join(host.tail() for host in hosts.all))
            raise
        yield hosts


@pytest.fixture
def hosts(started_hosts: Hosts) -> Hosts:
    """The same, whole again."""
    eventually(
        started_hosts.is_whole, "three hosts that all see each other, after what the last test did", patience=300
    )
    return started_hosts
