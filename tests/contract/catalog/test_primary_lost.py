"""PostgreSQL's primary is killed and its standby promoted: two real servers, one URL that names both."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.catalog import Catalog
from gateway.tenants.tenant import Tenant
from tests.support.postgres import postgres_programs, postgres_server

DEADLINE_S = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Standby:
    """Follows the server at a URL; what that one commits is on this one's disk first."""

    def __init__(self, primary: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ragfleet-pg-", dir="/tmp"))  # a socket's path is short
        self._primary = primary
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    def start(self) -> None:
        """A copy of the primary, which waits for it from now on."""
        host = parse_qs(urlsplit(self._primary).query)["host"][0]
        copy = ["pg_basebackup", "-h", host, "-U", "test", "-D", str(self.folder / "data"), "-R", "-X", "stream"]
        self._run(*copy, "-c", "fast", "--no-sync")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._control("-w", "-o", options, "-l", str(self.folder / "log"), "start")
        with psycopg.connect(self._primary, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            _until(
                lambda: connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone(),
                "the standby follows",
            )

    def promote(self) -> None:
        """It is the primary now."""
        self._control("-w", "promote")

    def stop(self) -> None:
        """And nothing of it is left."""
        with suppress(subprocess.CalledProcessError):
            self._control("-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), *words)

    def _run(self, program: str, *words: str) -> None:
        argv = [*self._prefix, str(postgres_programs() / program), *words]
        subprocess.run(argv, check=True, timeout=60, cwd=self.folder, stdout=subprocess.DEVNULL)


def _until(check: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not check():
        if time.monotonic() > ends:
            pytest.fail(f"not within {DEADLINE_S:.0f} s: {what}")
        time.sleep(0.1)


@pytest.fixture
def pair() -> Iterator[tuple[str, Standby]]:
    """The primary's URL, and its standby."""
    if not (postgres_programs() / "pg_basebackup").exists():
        pytest.skip("this PostgreSQL has no pg_basebackup")
    with postgres_server() as primary:
        standby = Standby(primary)
        try:
            standby.start()
            yield primary, standby
        finally:
            standby.stop()


async def test_nothing_that_was_committed_is_lost_and_the_catalog_goes_on(pair: tuple[str, Standby]) -> None:
    primary, standby = pair
    first = parse_qs(urlsplit(primary).query)["host"][0]
    both = f"postgresql://test@/postgres?host={first}&host={standby.folder}&target_session_attrs=read-write"
    catalog = Catalog(both, timeout_s=30.0)
    try:
        stores = catalog.of(Tenant("a")).stores
        made = [await stores.create(name=f"store {number}") for number in range(20)]
        _kill(Path(first))
        with pytest.raises(CatalogUnavailable):
            await stores.create(name="nobody takes it")
        standby.promote()
        for store in made:
            assert (await stores.get(store.id)).name == store.name
        assert (await stores.create(name="goes on")).name == "goes on"
    finally:
        await catalog.close()


def _kill(folder: Path) -> None:
    """SIGKILL to the server and all of its processes."""
    server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
    family = [server, *server.children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=DEADLINE_S)
