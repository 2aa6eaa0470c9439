"""A real PostgreSQL for tests, where the machine has its binaries."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import POSTGRES


def postgres_programs() -> Path:
    """The folder with initdb and its like; where there is none the test is skipped."""
    found = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((each for each in found if each), None)
    if initdb is None:
        pytest.skip("there is no PostgreSQL on this machine (initdb)")
    return Path(initdb).resolve().parent


@contextmanager
def postgres_server(
    tls: tuple[Path, Path] | None = None, *, host: tuple[str, str, Sequence[str]] | None = None
) -> Iterator[str]:
    """The URL of a server on a socket in its own folder; it refuses to run as root, so `nobody` runs it then.

    tls: the files of a certificate and its key; the server listens on a port of 127.0.0.1 then, and the URL names that.
    host: another host's address, the subnet that is let in, and what goes before a command that is to run there.
    """
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="ragfleet-pg-", dir="/tmp"))  # a socket's path is short
    prefix: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    data = str(folder / "data")
    control = [*prefix, str(programs / "pg_ctl"), "-D", data]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    url = f"postgresql://test@/postgres?host={folder}"
    if tls is not None:
        for name, file in zip(("server.crt", "server.key"), tls, strict=True):
            shutil.copy(file, folder / name)
            (folder / name).chmod(0o600)
            if prefix:
                os.chown(folder / name, user.pw_uid, user.pw_gid)
        files = f"-c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
        options = f"-k {folder} -p {POSTGRES} -c listen_addresses=127.0.0.1 -c ssl=on {files} -c fsync=off"
        url = f"postgresql://test@127.0.0.1:{POSTGRES}/postgres"
    subnet = ""
    if host is not None:
        address, subnet, before = host
        control = [*before, *control]
        options = f"-k {folder} -c listen_addresses={address} -c fsync=off"
        url = f"postgresql://test@{address}/postgres"
    try:
        subprocess.run(
            [*prefix, str(programs / "initdb"), "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            timeout=60,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        if subnet:
            with Path(data, "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {subnet} trust\n")
        subprocess.run(
            [*control, "-w", "-o", options, "-l", str(folder / "log"), "start"],
            check=True,
            timeout=60,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        yield url
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], timeout=30, cwd=folder, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def emptied(server: str) -> str:
    """The same URL, with nothing in the database any more."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server
