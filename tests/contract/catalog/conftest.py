"""The catalog on SQLite and on a real PostgreSQL, where the machine has its binaries."""

import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.knowledge.catalog.sql import SqlCatalog


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a socket in its own folder; it refuses to run as root, so `nobody` runs it then."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((each for each in found if each), None)
    if initdb is None:
        pytest.skip("there is no PostgreSQL on this machine (initdb)")
    programs = Path(initdb).resolve().parent
    folder = Path("/tmp") / f"ragfleet-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    prefix: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    data = str(folder / "data")
    control = [*prefix, str(programs / "pg_ctl"), "-D", data]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    try:
        subprocess.run(
            [*prefix, str(programs / "initdb"), "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            timeout=60,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run(
            [*control, "-w", "-o", options, "-l", str(folder / "log"), "start"],
            check=True,
            timeout=60,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        yield f"postgresql://test@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], timeout=30, cwd=folder, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    import psycopg

    server: str = request.getfixturevalue("postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server


@pytest.fixture
async def catalog(url: str, clock: Clock) -> AsyncIterator[SqlCatalog]:
    made = SqlCatalog(url, clock=clock)
    yield made
    await made.close()
