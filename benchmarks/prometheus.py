"""A real Prometheus for a program: started, asked, stopped. It is Debian's, unpacked into the cache and not installed."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.debian_program import download
from tests.support.embedded_fleet import EmbeddedFleet


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a query's answer: its labels, and (unix time, value) in their order."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def firing(self) -> set[str]:
        """The alerts that fire now; none where it does not answer."""
        with suppress(OSError):
            alerts = self._get("/api/v1/alerts")["alerts"]
            return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
        return set()

    def over(self, expression: str, begin: float, end: float, step_s: float) -> list[Series]:
        """A query's answer over a time, without what is no number. Raises OSError, HTTPError for a query that cannot be read."""
        asked = urllib.parse.urlencode({"query": expression, "start": begin, "end": end, "step": step_s})
        found = []
        for each in self._get(f"/api/v1/query_range?{asked}")["result"]:
            points = [(float(at), float(value)) for at, value in each["values"] if value not in ("NaN", "+Inf", "-Inf")]
            if points:
                found.append(Series(each["metric"], points))
        return found

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as reply:
            return json.load(reply)["data"]


@contextmanager
def prometheus(port: int, jobs: Sequence[Mapping[str, Any]], *, rules: str = "") -> Iterator[Prometheus]:
    """One that scrapes `jobs` (as prometheus.yml has them) each second, and evaluates rules each second. Raises NotToBeHad."""
    program = download("prometheus", "prometheus") / "usr" / "bin" / "prometheus"
    with tempfile.TemporaryDirectory(prefix="ragfleet-prometheus-") as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(rules or "groups: []")
        times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        scraped = [{"scrape_timeout": "1s", **each} for each in jobs]
        settings = {"global": times, "rule_files": ["rules.yml"], "scrape_configs": scraped}
        (folder / "prometheus.yml").write_text(json.dumps(settings))
        argv = [
            str(program),
            "--config.file=prometheus.yml",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        process = subprocess.Popen([*argv, "--storage.tsdb.path=data"], cwd=folder)
        try:
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(30)


def targets(fleet: EmbeddedFleet) -> list[dict[str, Any]]:
    """What Prometheus scrapes, with the names and labels that docker/prometheus/prometheus.yml gives."""
    status = subprocess.run(
        [sys.executable, "-m", "ragfleet", "status", "--json"],
        env={**os.environ, "RAGFLEET_HOME": str(fleet.home)}, stdout=subprocess.PIPE, check=True, timeout=60,
    )  # fmt: skip
    flavour = json.loads(status.stdout)["flavour"]
    tritons = [
        {
            "targets": [f"127.0.0.1:{each['metrics_port']}"],
            "labels": {"instance": each["name"], "ragfleet_version": each["version"], "flavour": flavour},
        }
        for each in fleet.instances
    ]
    gateways = [url.removeprefix("http://") for url in fleet.gateway_urls]
    return [
        {"job_name": "gateway", "static_configs": [{"targets": gateways}]},
        {"job_name": "triton", "static_configs": tritons},
    ]
