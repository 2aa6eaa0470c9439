"""An instance on a host of its own: a network namespace whose one cable can be pulled.

Its worker and Triton run over there; Consul and the gateway stay here. A pulled cable is what a partition looks like: nobody
is told, packets vanish both ways, and the worker over there takes itself for healthy. Needs root and iproute2 (ip-netns(8)).
"""

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ragfleet import processes
from ragfleet.paths import PROJECT

DEADLINE = 10.0
SPACE_DEADLINE = 60.0
"""Of a command that makes or removes a namespace: a busy kernel clears up others first."""


def unavailable() -> str:
    """Why there can be no such host here; "" where there can."""
    if shutil.which("ip") is None:
        return "no command 'ip' (package iproute2)"
    name = f"rf{os.getpid()}t"
    remove("netns", name)
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return f"no network namespace can be made (root is needed): {done.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


class FarHost:
    """A context manager; `run` starts a worker over there, `cut` and `mend` are the cable."""

    def __init__(self, home: Path, *, consul_port: int) -> None:
        """home: the fleet's state folder. consul_port: of the Consul on this host's loopback."""
        number = os.getpid() % 16384
        # 198.18.0.0/15 is kept for benchmarks (RFC 2544): no real network is hidden by it.
        block = f"198.18.{number // 64}."
        self.near, self.address = block + str(number % 64 * 4 + 1), block + str(number % 64 * 4 + 2)
        self._home = home
        self._consul_port = consul_port
        self._space = f"rf{os.getpid()}"
        self._cable = (f"rf{os.getpid()}a", f"rf{os.getpid()}b")
        self._relay: _Relay | None = None
        self._name = ""
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        near, far = self._cable
        self._remove()
        try:
            _ip("netns", "add", self._space)
            _ip("link", "add", near, "type", "veth", "peer", "name", far)
            _ip("link", "set", far, "netns", self._space)
            _ip("addr", "add", f"{self.near}/30", "dev", near)
            _ip("link", "set", near, "up")
            _ip("-n", self._space, "addr", "add", f"{self.address}/30", "dev", far)
            _ip("-n", self._space, "link", "set", far, "up")
            _ip("-n", self._space, "link", "set", "lo", "up")
            self._relay = _Relay(self.near, self._consul_port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            processes.sweep(self._home, part=self._name)
            self._worker.wait(DEADLINE)
        if self._relay is not None:
            self._relay.close()
        self._remove()

    def _remove(self) -> None:
        remove("link", self._cable[0])
        remove("netns", self._space)

    def run(self, name: str, http_port: int, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the worker of the instance `name` over there; `arguments` are more of its command line."""
        assert self._relay is not None
        self._name = name
        log = self._home / "log" / f"{name}.worker.log"
        argv = ["ip", "netns", "exec", self._space, sys.executable, "-m", "worker", f"--name={name}"]
        argv += [f"--http-port={http_port}", f"--bind={self.address}", *arguments]
        marks = {processes.HOME_MARK: str(self._home), processes.PART_MARK: name}
        consul = {"RAGFLEET_CONSUL_URL": f"http://{self.near}:{self._relay.port}"}
        with log.open("ab") as output:
            self._worker = subprocess.Popen(
                argv,
                env={**os.environ, **environment, **marks, **consul},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def stop(self, *, within: float = 60.0) -> None:
        """SIGTERM to the worker: it drains, leaves Consul and ends. Raises subprocess.TimeoutExpired."""
        assert self._worker is not None
        self._worker.terminate()
        self._worker.wait(within)

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self._space, "link", "set", self._cable[1], "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("-n", self._space, "link", "set", self._cable[1], "up")


class _Relay:
    """Carries TCP from an address of this host to a port of its loopback, where Consul listens."""

    def __init__(self, host: str, target: int) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", target), timeout=5) as consul:
                    consul.settimeout(None)
                    back = threading.Thread(target=_pump, args=(consul, self.request), daemon=True)
                    back.start()
                    _pump(self.request, consul)
                    back.join()

        self._server = socketserver.ThreadingTCPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening; what is open ends with its peers."""
        self._server.shutdown()
        self._server.server_close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def remove(kind: str, name: str) -> None:
    """A namespace ("netns") or a device ("link"), where it is there.

    Names have the process's number in them: one is left by a process of the same number that was killed, and `ip netns add`
    refuses a name whose file is there, whatever it is.
    """
    with suppress(subprocess.CalledProcessError):
        _ip(kind, "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=SPACE_DEADLINE)
