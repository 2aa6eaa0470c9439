"""Brings an embedded fleet up: checks, starts the supervisor, and waits until all of it serves or some of it failed."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ragfleet import consul_binary, fleet_spec, processes, services, status, supervisor
from ragfleet.fleet_spec import FleetSpec
from ragfleet.paths import Home, cache_folder
from ragfleet.status import FleetStatus
from worker import preflight, triton

READY_SECONDS = 180.0
POLL = 0.3
TAIL_LINES = 15
GIVE_UP_AFTER = 3
"""Failed starts in a row after which a part is not going to come up by itself."""
GIVE_UP_ON_TRITON_AFTER = 2
"""The same for a Triton, which takes long to load its models each time. Not one: on a busy machine its Python backend now and
then dies in its start with a boost lock_exception, as others see (triton-inference-server: server#8882,
tensorrtllm_backend#521)."""


class NotStartableError(Exception):
    """Something is missing before anything was started; the text says what to do."""


class NotRunningError(NotStartableError):
    """There is no fleet to work on."""


class StartFailedError(Exception):
    """A part did not come up."""

    def __init__(self, part: str, reason: str, log: Path) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason
        self.log = log


@dataclass(frozen=True, slots=True)
class ServiceProgress:
    """One part on its way, for a display: its state in a word, and more where there is more to say."""

    name: str
    state: str
    reason: str = ""


@contextlib.contextmanager
def alone(home: Home, say: Callable[[str], None]) -> Iterator[None]:
    """One start at a time for a state folder: the second would sweep away what the first has only just started.

    It waits for the other, which has a deadline of its own. Raises OSError.
    """
    home.make()
    with home.start_lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another 'ragfleet up' starts this fleet. Waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check(home: Home, wanted: FleetSpec) -> None:
    """Raises NotStartableError with every reason why this fleet cannot start here."""
    server, repository = triton.find(), Path(wanted.model_repository)
    problems = [str(problem) for problem in preflight.check_server(server)]
    problems += [str(p) for p in preflight.check_paths(home.root, repository, *([server.binary] if server else []))]
    problems += [str(p) for p in preflight.check_repository(repository, wanted.flavour)]
    if consul_binary.find(cache_folder()) is None:
        problems.append("There is no Consul yet. Run: ragfleet setup")
    named = os.environ.get("RAGFLEET_TOKENIZER_DIR")
    if "gateway" not in wanted.without and not named and not (home.tokenizer / "tokenizer.json").is_file():
        problems.append("There is no tokenizer of the model yet. Run: ragfleet setup")
    if "gateway" not in wanted.without:
        problems += _misread_settings(wanted)
    other = " Stop that, or use another range: ragfleet up --port-base 21000"
    problems += [f"{taken}{other}" for taken in _taken(services.ports_of(wanted))]
    if problems:
        raise NotStartableError("\n".join(problems))


def start(home: Home, wanted: FleetSpec) -> int:
    """Starts the supervisor for `wanted` and returns its pid. The fleet's processes of an earlier crash are ended first."""
    home.make()
    processes.sweep(home.root)
    check(home, wanted)
    before = fleet_spec.read(home.plan_file)
    key = wanted.api_key or (before.api_key if before else "") or f"sk-ragfleet-{secrets.token_urlsafe(24)}"
    fleet_spec.write(home.plan_file, replace(wanted, api_key=key))
    _keep_secret(home.api_key, key)
    for file, secret in (
        (home.filter_secret, secrets.token_hex(32)),
        (home.admin_key, f"sk-ragfleet-admin-{secrets.token_urlsafe(32)}"),
    ):
        if not file.exists():
            _keep_secret(file, secret)
    for stale in (home.parts_file, *home.run.glob("triton-*.json")):
        stale.unlink(missing_ok=True)
    # The embedded Consul holds nothing but registrations; those of an earlier fleet would haunt this one.
    shutil.rmtree(home.consul_data, ignore_errors=True)
    environment = {**os.environ, processes.HOME_MARK: str(home.root), processes.PART_MARK: "supervisor"}
    with home.log_of("supervisor").open("ab") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "ragfleet.supervisor"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return daemon.pid


def wait(
    home: Home,
    show: Callable[[list[ServiceProgress]], None],
    *,
    pid: int,
    seconds: float = READY_SECONDS,
    first_start: bool = True,
) -> FleetStatus:
    """Returns when the whole fleet serves. Raises StartFailedError for the part that failed or is late.

    `first_start`: parts that fail to start give up early; without it (scaling) only the deadline does.
    """
    ends = time.monotonic() + seconds
    while True:
        seen = status.gather(home)
        steps = steps_of(seen)
        show(steps)
        if seen.ready and all(step.state == "ready" for step in steps):
            return seen
        if not processes.alive(pid):
            raise StartFailedError(
                "supervisor",
                "ended while the fleet was starting. Look at its log, or start again: ragfleet up",
                home.log_of("supervisor"),
            )
        if first_start:
            _give_up_on_the_hopeless(home, seen)
        if time.monotonic() > ends:
            late = first_cause(steps)
            reason = late.reason or "; ".join(seen.reasons) or late.state
            raise StartFailedError(late.name, f"not ready after {seconds:.0f} s ({reason})", _log(home, late.name))
        time.sleep(POLL)


def steps_of(seen: FleetStatus) -> list[ServiceProgress]:
    """One step for each part, instances with their worker's own words."""
    instances = {entry.name: entry for entry in seen.instances}
    steps = []
    for part in seen.parts:
        name = str(part["name"])
        if entry := instances.get(name):
            waiting = part["state"] == "waiting"
            steps.append(ServiceProgress(name, "waiting" if waiting else entry.state, "" if waiting else entry.reason))
        else:
            steps.append(ServiceProgress(name, str(part["state"]), str(part["reason"])))
    return steps


def first_cause(steps: list[ServiceProgress]) -> ServiceProgress:
    """Of the parts that are not ready, the one to look at first: the gateway waits for all the others."""
    late = [step for step in steps if step.state != "ready"]
    return min(late, key=lambda step: step.name.startswith("gateway"), default=ServiceProgress("gateway", "not ready"))


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def scale(home: Home, instances: int) -> int:
    """Writes the wanted number of instances and tells the supervisor; returns its pid.

    Raises NotRunningError, NotStartableError where another process has a port that one of them needs.
    """
    pid, wanted = supervisor.running(home), fleet_spec.read(home.plan_file)
    if pid <= 0 or wanted is None:
        raise NotRunningError("The fleet is not running. Start it with: ragfleet up")
    # One that has a state file is there, or is being drained and has its ports still.
    fresh = {
        port: name
        for index, name in enumerate(replace(wanted, instances=instances).names)
        if not home.instance_file(name).exists()
        for port in wanted.ports.triton(index)
    }
    if taken := _taken(fresh):
        raise NotStartableError("\n".join(f"{each} Stop that first." for each in taken))
    fleet_spec.write(home.plan_file, replace(wanted, instances=instances))
    os.kill(pid, signal.SIGHUP)
    return pid


def _misread_settings(wanted: FleetSpec) -> list[str]:
    """A value that a gateway would refuse, told before anything is started."""
    from gateway.config import Settings
    from gateway.environment import ConfigError
    from ragfleet.deployment import check_address

    # The key is the fleet's own, whatever the environment has (ragfleet.services).
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAGFLEET_API_KEY")}
    try:
        Settings.from_env(environment)
        check_address("MILVUS_URI", wanted.milvus)
    except ConfigError as error:
        return [
            f"{error}. See: ragfleet settings" if not str(error).endswith(".") else f"{error} See: ragfleet settings"
        ]
    return []


def _taken(ports: Mapping[int, str]) -> list[str]:
    """Which of them somebody has, in sentences."""
    owners = {port: processes.owner_of(port) for port in ports}
    return [f"Port {port}, which {ports[port]} needs, is taken by {owner}." for port, owner in owners.items() if owner]


def _keep_secret(file: Path, secret: str) -> None:
    """Where this user alone can read it."""
    file.touch(mode=0o600)
    file.write_text(secret + "\n", encoding="utf-8")


def _give_up_on_the_hopeless(home: Home, seen: FleetStatus) -> None:
    for part in seen.parts:
        name = str(part["name"])
        if part["failures"] >= GIVE_UP_AFTER or "status 3" in str(part["reason"]):
            raise StartFailedError(name, str(part["reason"]) or "does not start", _log(home, str(part["log"])))
    for entry in seen.instances:
        if entry.restarts >= GIVE_UP_ON_TRITON_AFTER and entry.state != "ready":
            raise StartFailedError(entry.name, entry.reason or entry.state, home.log_of(entry.name))


def _log(home: Home, name: str) -> Path:
    own = home.log_of(name)
    return own if own.exists() else home.log_of(f"{name}.worker")
