"""Several hosts on one switch, each a network namespace; this process is on it, too, where clients and load balancers are.

A host can be unplugged, kept from sending to another one (the other direction goes on), and the switch can be slow and lossy.
Needs root and iproute2, and nothing else: no netem, no firewall.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import far_host

DEADLINE = 10.0
NOBODYS_MAC = "02:00:00:00:00:01"
CLIENTS = "clients"
"""This process's place on the switch."""


def unavailable() -> str:
    """Why there can be no such hosts here; "" where there can. Tries it: containers may lack any of it."""
    if why := far_host.unavailable():
        return why
    try:
        with HostsNetwork(["h1", "h2"]) as network:
            subprocess.run([*network.command("h1"), "true"], capture_output=True, timeout=60, check=True)
            with suppress(ConnectionRefusedError):  # as a host says that is there
                socket.create_connection((network.address("h2"), 9), timeout=30).close()
    except subprocess.CalledProcessError as error:
        return (
            f"hosts on a switch cannot be made here: {(error.stderr or b'').decode(errors='replace').strip() or error}"
        )
    except OSError as error:
        return f"hosts on a switch cannot be reached here: {error}"
    return ""


class HostsNetwork:
    """A context manager. `command` is the prefix of what runs on a host."""

    def __init__(self, names: Sequence[str]) -> None:
        mark = f"rf{os.getpid()}"
        self._switch = f"{mark}sw"
        self._spaces = {name: f"{mark}{name}" for name in names}
        # 198.18.0.0/15 is kept for benchmarks (RFC 2544): no real network is hidden by it.
        block = f"198.19.{os.getpid() % 250}"
        self._addresses = {name: f"{block}.{number + 11}" for number, name in enumerate([*names, CLIENTS])}
        self.subnet = f"{block}.0/24"
        self._near = f"{mark}c"
        self._ports = {name: f"p{number}" for number, name in enumerate([*names, CLIENTS])}

    def __enter__(self) -> Self:
        self._remove()
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        far_host.remove("link", self._near)
        for space in (*self._spaces.values(), self._switch):
            far_host.remove("netns", space)

    def address(self, name: str) -> str:
        """Of a host, or of CLIENTS."""
        return self._addresses[name]

    def command(self, name: str) -> list[str]:
        """What goes before a program that is to run on that host."""
        return ["ip", "netns", "exec", self._spaces[name]]

    def unplug(self, name: str) -> None:
        """Its cable is pulled: nobody is told, and packets vanish both ways."""
        ip("-n", self._switch, "link", "set", self._ports[name], "down")

    def plug(self, name: str) -> None:
        """Plug it in again."""
        ip("-n", self._switch, "link", "set", self._ports[name], "up")

    def silence(self, sender: str, receiver: str) -> None:
        """What the one sends to the other goes to an address of hardware that nobody has, without a word to the sender."""
        words = ("replace", self.address(receiver), "lladdr", NOBODYS_MAC, "dev", "eth0", "nud", "permanent")
        ip("-n", self._spaces[sender], "neigh", *words)

    def hear(self, sender: str, receiver: str) -> None:
        """The end of `silence`."""
        ip("-n", self._spaces[sender], "neigh", "del", self.address(receiver), "dev", "eth0")

    @contextmanager
    def slow(self, *, delay_ms: float, jitter_ms: float, loss: float) -> Iterator[None]:
        """Every frame between any two takes so long, one way, and a share of them is lost (0 to 1)."""
        program = Path(__file__).with_name("slow_switch.py")
        options = [f"--delay-ms={delay_ms}", f"--jitter-ms={jitter_ms}", f"--loss={loss}"]
        argv = ["ip", "netns", "exec", self._switch, sys.executable, str(program), *options, *self._ports.values()]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as switch:
            try:
                assert switch.stdout is not None
                assert switch.stdout.readline() == b"ready\n", "the slow switch did not start"
                for port in self._ports.values():
                    ip("-n", self._switch, "link", "set", port, "nomaster")
                yield
            finally:
                for port in self._ports.values():
                    ip("-n", self._switch, "link", "set", port, "master", "br0")
                switch.kill()

    def _build(self) -> None:
        ip("netns", "add", self._switch)
        ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self._switch, "link", "set", "br0", "up")
        for name, space in self._spaces.items():
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
            self._join(name, "eth0", space)
        self._join(CLIENTS, self._near, "")

    def _join(self, name: str, interface: str, space: str) -> None:
        """A cable between the switch and a namespace; "": this process's own."""
        there = ("-n", space) if space else ()
        port = self._ports[name]
        peer = ("netns", space) if space else ("netns", str(os.getpid()))
        ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", interface, *peer)
        ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
        ip(*there, "addr", "add", f"{self.address(name)}/24", "dev", interface)
        ip(*there, "link", "set", interface, "up")


def ip(*words: str) -> None:
    """Runs ip(8). Raises subprocess.CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=DEADLINE)
