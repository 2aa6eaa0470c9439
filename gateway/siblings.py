"""What the processes of one gateway tell each other, so that whoever is asked answers for all of them: metrics and demand."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.process_group import Membership

log = logging.getLogger("ragfleet.gateway")

ANSWER_S = 2.0
"""For one answer; past it that process is left out, and `ragfleet_gateway_process_up` says so."""
ANSWER_BYTES = 16 * 2**20
QUESTION_BYTES = 4096

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{\}?)?", re.MULTILINE)
_UP = "ragfleet_gateway_process_up"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """Of one process."""

    metrics: str
    """Its exposition, in the format that was asked for."""
    demand: Mapping[str, float]
    """`requests`, `instances`: as `/fleet` has them."""


class Siblings:
    """`run` answers the others while it runs; `ask` gives what they say."""

    def __init__(self, membership: Membership, report: Callable[[str], ProcessReport]) -> None:
        """report: of this process; its argument is the `Accept` of who scrapes."""
        self._membership = membership
        self._report = report

    async def run(self) -> None:
        """Until cancelled."""
        here = socket.socket(socket.AF_UNIX)  # made by us: uvloop knows no names without a file
        here.bind(self._address(self._membership.index))
        server = await asyncio.start_unix_server(self._answer, sock=here, limit=QUESTION_BYTES)
        async with server:
            await server.serve_forever()

    async def ask(self, accept: str = "") -> Mapping[int, ProcessReport | None]:
        """What each process says of itself, this one included, by its index; None for one that does not answer."""
        others = [index for index in range(self._membership.size) if index != self._membership.index]
        found = await asyncio.gather(*(self._asked(index, accept) for index in others))
        return dict(
            sorted({self._membership.index: self._report(accept), **dict(zip(others, found, strict=True))}.items())
        )

    async def _asked(self, index: int, accept: str) -> ProcessReport | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                link = await self._connected(index)
                reader, writer = await asyncio.open_unix_connection(sock=link, limit=ANSWER_BYTES)
                try:
                    writer.write(json.dumps(accept[: QUESTION_BYTES // 8]).encode() + b"\n")
                    said: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
                    return ProcessReport(said["metrics"], said["demand"])
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError, LookupError, EOFError, asyncio.LimitOverrunError) as error:
            log.warning("process %d of this gateway does not answer: %s", index, str(error) or type(error).__name__)
            return None

    async def _connected(self, index: int) -> socket.socket:
        there = socket.socket(socket.AF_UNIX)
        there.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(there, self._address(index))
        except BaseException:
            there.close()
            raise
        return there

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                report = self._report(json.loads(await reader.readuntil(b"\n")))
                writer.write(json.dumps({"metrics": report.metrics, "demand": dict(report.demand)}).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
            log.debug("a question of another process was not answered: %s", error)
        finally:
            writer.close()

    def _address(self, index: int) -> str:
        """Of a socket without a file (Linux's abstract names), which is gone with its process."""
        return f"\0ragfleet-{self._membership.group}-{index}"


def merged_metrics(reports: Mapping[int, ProcessReport | None]) -> str:
    """One exposition of all processes, each sample with the label `process`; OpenMetrics where theirs is."""
    families: dict[str, list[str]] = {
        _UP: [f"# HELP {_UP} Whether a process of this gateway answers.", f"# TYPE {_UP} gauge"]
        + [f'{_UP}{{process="{index}"}} {0 if report is None else 1}.0' for index, report in reports.items()]
    }
    end = ""
    for index, report in reports.items():
        known, family = set(families), families[_UP]
        for line in report.metrics.splitlines() if report is not None else ():
            if line == "# EOF":
                end = "# EOF\n"
            elif line.startswith("# "):
                name = line.split(" ", 3)[2]
                family = families.setdefault(name, [])
                if name not in known:
                    family.append(line)
            elif line:
                family.append(_labelled(line, index))
    return "".join(f"{line}\n" for lines in families.values() for line in lines) + end


def _labelled(line: str, index: int) -> str:
    found = _SAMPLE.match(line)
    if found is None:
        return line
    name, brace = found.groups()
    more = "," if brace == "{" else "}"
    return f'{name}{{process="{index}"{more}{line[found.end() :]}'


def summed_demand(reports: Mapping[int, ProcessReport | None]) -> dict[str, float]:
    """Of all processes."""
    there = [report.demand for report in reports.values() if report is not None]
    return {name: sum(demand[name] for demand in there) for name in ("requests", "instances")}
