"""A container engine of its own: Debian's packages, a data root that goes away, and nothing of it left in the kernel."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.compose.steps import StepError
from ragfleet import apt_sources

PACKAGES = ("docker.io", "iptables", "mmdebstrap", "tini")
PLUGINS = ("docker-compose", "docker-buildx")
"""Debian 12's Compose is too old (1.29); those of the release after it run here as they are."""
PLUGINS_RELEASE = "trixie"
POOL = "10.213."
"""How every address that this engine gives begins."""
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
TABLES = ("filter", "nat")
END_S = 90.0


class Engine:
    """dockerd in `folder`; nothing but that folder and the kernel's tables knows of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = f"unix://{folder}/docker.sock"
        self.env = {
            **os.environ,
            "DOCKER_HOST": self._socket,
            "DOCKER_CONFIG": str(folder / "client"),
            "DOCKER_BUILDKIT": "1",
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._forwarding = ""
        self._policy = ""

    @staticmethod
    def unavailable() -> str:
        """Why no engine can run here; empty where one can."""
        if os.geteuid() != 0:
            return "it takes root: a container engine makes networks and mounts"
        if shutil.which("apt-get") is None:
            return "it takes Debian's packages: there is no apt-get here"
        if Path("/sys/class/net/docker0").exists():
            return "another Docker runs here (docker0): its rules and ours would be mixed up"
        return ""

    def install(self) -> None:
        """The packages, and Compose and buildx beside the client. What is there already stays."""
        if any(shutil.which(program) is None for program in ("dockerd", "iptables", "mmdebstrap", "tini")):
            # RUNLEVEL: no daemon of the package's own is started.
            env = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
            command(["apt-get", "update", "-qq"], timeout=300, env=env)
            command(["apt-get", "install", "-qq", "--no-install-recommends", *PACKAGES], timeout=600, env=env)
        plugins = self.folder / "client" / "cli-plugins"
        if not all((plugins / name).exists() for name in PLUGINS):
            self._install_plugins(plugins)

    def _install_plugins(self, target: Path) -> None:
        """Downloaded by apt, which checks signatures, and unpacked; the machine's own packages and lists are not touched."""
        target.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / "apt"
        for part in ("lists/partial", "archives/partial", "unpacked"):
            (scratch / part).mkdir(parents=True, exist_ok=True)
        mirror = next(iter(apt_sources.mirrors()), None)
        if mirror is None:
            raise StepError("apt has no mirror to take Compose from")
        (scratch / "sources.list").write_text(f"deb {mirror} {PLUGINS_RELEASE} main\n")
        places = {
            "Dir::State": scratch,
            "Dir::Cache": scratch,
            "Dir::Etc::sourcelist": scratch / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::status": "/dev/null",
            "APT::Sandbox::User": "root",
        }
        options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
        command(["apt-get", *options, "update", "-qq"], timeout=300)
        command(["apt-get", *options, "download", "-qq", *PLUGINS], timeout=300, cwd=scratch)
        for package in scratch.glob("*.deb"):
            command(["dpkg-deb", "-x", str(package), str(scratch / "unpacked")], timeout=60)
        for name in PLUGINS:
            shutil.copy(scratch / "unpacked/usr/libexec/docker/cli-plugins" / name, target / name)

    def start(self) -> None:
        """dockerd, until it answers. Raises StepError."""
        self._forwarding = FORWARDING.read_text()
        self._policy = forward_policy(self.rules("filter"))
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        runtime = Path(__file__).with_name("runc-without-oom")
        argv = ["dockerd", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        argv += [f"--pidfile={self.folder}/pid", f"--host={self._socket}", "--bridge=none"]
        argv += [f"--default-address-pool=base={POOL}0.0/16,size=24"]
        argv += [f"--add-runtime=ours={runtime}", "--default-runtime=ours"]
        with (self.folder / "dockerd.log").open("wb") as log:
            # In a session of its own: Ctrl-C is for us, who end it in order.
            self._daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["docker", "version"], env=self.env, capture_output=True, timeout=30, check=False
        ).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "dockerd.log").read_text(errors="replace").splitlines()[-5:]
                raise StepError("dockerd does not start: " + " | ".join(said))
            time.sleep(0.5)

    def docker(self, *words: str, timeout: float) -> str:
        """What `docker WORDS` printed. Raises StepError with its last words."""
        return command(["docker", *words], timeout=timeout, env=self.env)

    def stop(self) -> None:
        """Every container, network and volume away, the daemon ended, the kernel's tables as they were."""
        if self._daemon is None:
            return
        if self._daemon.poll() is None:
            with suppress(StepError, subprocess.TimeoutExpired):
                if containers := self.docker("ps", "-aq", timeout=30).split():
                    self.docker("rm", "-f", *containers, timeout=120)
                self.docker("network", "prune", "-f", timeout=60)
                self.docker("volume", "prune", "-f", timeout=60)
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self._daemon.wait(END_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait(30)
        self._daemon = None
        for mount in self._mounts():
            subprocess.run(["umount", "-l", mount], capture_output=True, timeout=30, check=False)
        for table in TABLES:
            kept = without_engine(self.rules(table))
            subprocess.run(["iptables-restore"], input=kept, text=True, timeout=30, check=True)
        if self._policy:
            command(["iptables", "-P", "FORWARD", self._policy], timeout=30)
        FORWARDING.write_text(self._forwarding)

    def remove(self) -> None:
        """The folder with everything in it. After `stop`."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def left(self, *, kept: bool) -> list[str]:
        """What is still there of it, in words; nothing, after `stop` and `remove` (kept: only after `stop`)."""
        found = [f"mount {each}" for each in self._mounts()]
        found += [f"{table}: {line}" for table in TABLES for line in self.rules(table).splitlines() if is_ours(line)]
        found += [f"process {each}" for each in _processes(str(self.folder))]
        if self._forwarding and FORWARDING.read_text() != self._forwarding:
            found.append(f"ip_forward is {FORWARDING.read_text().strip()}")
        if self._policy and (now := forward_policy(self.rules("filter"))) != self._policy:
            found.append(f"the policy of FORWARD is {now}")
        if not kept and self.folder.exists():
            found.append(str(self.folder))
        return found

    @staticmethod
    def rules(table: str) -> str:
        """As iptables-save writes them."""
        return command(["iptables-save", "-t", table], timeout=30)

    def _mounts(self) -> list[str]:
        """Below our folder, the deepest first."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return sorted((each for each in mounted if each.startswith(f"{self.folder}/")), reverse=True)


def command(
    argv: Sequence[str], *, timeout: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """What it printed. Raises StepError with its last words, or that it did not end in time."""
    try:
        done = subprocess.run(
            argv,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
            env=None if env is None else dict(env),
        )
    except subprocess.TimeoutExpired:
        raise StepError(f"{' '.join(argv[:4])} …: no end after {timeout:.0f} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise StepError(f"{' '.join(argv[:6])} …: status {done.returncode}: " + " | ".join(words))
    return str(done.stdout)


def is_ours(line: str) -> bool:
    """Whether a line of iptables-save is the engine's: its chains, its bridges, its addresses."""
    return "DOCKER" in line or POOL in line or bool(re.search(r" (-[io]|! -o) (br-[0-9a-f]{12}|docker0)\b", line))


def without_engine(saved: str) -> str:
    """A table without what the engine has put into it, for iptables-restore."""
    return "".join(line for line in saved.splitlines(keepends=True) if not is_ours(line))


def forward_policy(saved: str) -> str:
    """ACCEPT or DROP: what the table filter does with what no rule of FORWARD takes. ACCEPT where there is no table yet."""
    found = re.search(r"^:FORWARD (\w+)", saved, flags=re.MULTILINE)
    return found[1] if found else "ACCEPT"


def _processes(folder: str) -> Iterable[str]:
    """The engine's own that were started with this folder among their words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if folder in words and Path(words.partition(" ")[0]).name.startswith(("docker", "containerd", "runc")):
                yield words[:120]
