"""`python slow_switch.py --delay-ms 50 --loss 0.01 PORT …`: a switch between network interfaces that is slow and loses frames.

For kernels without netem. Frames are read and written as they are (packet(7)), with the word of virtio (PACKET_VNET_HDR) about a
checksum or segments that the sender's interface left to the next one; without it those between veth pairs would be dropped.
"""

import argparse
import heapq
import random
import select
import socket
import sys
import time

EVERY_PROTOCOL = 3
SOL_PACKET, ADD_MEMBERSHIP, PROMISCUOUS, VNET_HEADER = 263, 1, 1, 15
VNET_BYTES, LONGEST = 10, 1 << 17
OUTGOING = 4
"""Kind of a frame that this very machine sends at an interface: what the switch has just written."""
BUFFER = 8 << 20


class Port:
    """One interface."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0
        self.free_at = 0.0
        """When the last frame that waits for this port goes out: none overtakes another."""
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(SOL_PACKET, VNET_HEADER, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.bind((name, EVERY_PROTOCOL))
        number = socket.if_nametoindex(name)
        membership = number.to_bytes(4, sys.byteorder) + PROMISCUOUS.to_bytes(2, sys.byteorder) + bytes(10)
        self.socket.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, membership)
        self.socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        """Raises nothing: a frame that the interface does not take is lost."""
        try:
            self.socket.send(frame)
        except OSError:
            self.lost += 1


class Switch:
    """Learns who is where, as switches do."""

    def __init__(self, ports: list[Port], *, delay_s: float, jitter_s: float, loss: float, seed: int) -> None:
        self._ports = {port.socket.fileno(): port for port in ports}
        self._delay_s, self._jitter_s, self._loss = delay_s, jitter_s, loss
        self._random = random.Random(seed)
        self._where: dict[bytes, Port] = {}
        self._waiting: list[tuple[float, int, Port, bytes]] = []
        self._count = 0

    def run(self) -> None:
        """Until it is killed."""
        poll = select.poll()
        for number in self._ports:
            poll.register(number, select.POLLIN)
        while True:
            wait = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else 1.0
            for number, _ in poll.poll(wait * 1000):
                self._take(self._ports[number])
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, port, frame = heapq.heappop(self._waiting)
                port.send(frame)

    def _take(self, port: Port) -> None:
        for _ in range(64):  # others wait, too
            try:
                frame, source = port.socket.recvfrom(LONGEST)
            except OSError:  # nothing more, or the interface is down
                return
            if source[2] == OUTGOING:
                continue
            to, sender = frame[VNET_BYTES : VNET_BYTES + 6], frame[VNET_BYTES + 6 : VNET_BYTES + 12]
            self._where[sender] = port
            known = None if to[0] & 1 else self._where.get(to)
            for each in [known] if known else self._ports.values():
                if each is not port and self._random.random() >= self._loss:
                    self._wait(each, frame)

    def _wait(self, port: Port, frame: bytes) -> None:
        delay = self._delay_s + self._random.uniform(0, self._jitter_s)
        port.free_at = max(port.free_at, time.monotonic() + delay)
        self._count += 1
        heapq.heappush(self._waiting, (port.free_at, self._count, port, frame))


def main() -> None:
    """Run a switch between the named interfaces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ports", nargs="+")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of each frame, one way")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="added to it, from 0 to this")
    parser.add_argument("--loss", type=float, default=0.0, help="share of the frames, from 0 to 1")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    ports = [Port(name) for name in args.ports]
    print("ready", flush=True)
    Switch(ports, delay_s=args.delay_ms / 1000, jitter_s=args.jitter_ms / 1000, loss=args.loss, seed=args.seed).run()


if __name__ == "__main__":
    main()
