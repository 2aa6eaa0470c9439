"""The Python blocks of README.md and docs/contracts.md, run as they stand on a fleet that has read the handbook."""

import json
import re
import subprocess
import sys

import pytest

from ragfleet.paths import PROJECT
from tests.fleet.real_parts import Command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a whole fleet with the real models

PAGES = ("README.md", "docs/contracts.md")


@pytest.fixture(scope="module")
def fleet(ragfleet: Command, ports: int) -> Command:
    """One instance that has read the handbook."""
    assert ragfleet("setup", within=300).returncode == 0
    shown = ragfleet("up", "--port-base", str(ports), "--instances", "1", within=300)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    read = ragfleet("ingest", str(PROJECT / "examples" / "handbook" / "documents"), within=240)
    assert read.returncode == 0, read.stdout + read.stderr
    return ragfleet


@pytest.mark.parametrize("page", PAGES)
def test_a_documented_block_runs_and_answers(fleet: Command, page: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (PROJECT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks, f"{page} has no Python block any more: take it out of PAGES"
    seen = json.loads(fleet("status", "--json").stdout)
    for block in blocks:
        code = block.replace("http://127.0.0.1:8000", seen["gateway_url"].removesuffix("/v1"))
        code = code.replace("127.0.0.1:8102", f"127.0.0.1:{seen['instances'][0]['grpc_port']}")
        code = code.replace("api_key=KEY", f"api_key={seen['api_key']!r}")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=fleet.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), "it prints an answer"
