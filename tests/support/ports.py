"""Where servers of tests listen: from RAGFLEET_TEST_PORTS on, so that two checkouts can be tested side by side.

Each of pytest-xdist's workers has a range of its own: FOR_FLEETS are tests/fleet's, the others those of tests/contract.
"""

import os

_RANGE = 2500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

BASE = int(os.environ.get("RAGFLEET_TEST_PORTS", "21200")) + _RANGE * _WORKER

CONSUL = BASE
"""And the two after it."""
LLM = {"simulated": BASE + 10, "llamacpp": BASE + 20, "llmapi": BASE + 30, "torch": BASE + 70}
"""HTTP of the Triton of each flavour; gRPC and metrics follow it, as they do below."""
CRASHING = BASE + 40
LLMAPI = BASE + 50
TENSORRTLLM = BASE + 60
POSTGRES = BASE + 80
"""Of the one that speaks TLS; the others have a socket."""
OTLP = BASE + 90
"""A receiver of traces, and what stands before it."""
NOBODY = BASE + 99
"""Nothing listens here."""
FOR_FLEETS = range(BASE + 100, BASE + _RANGE, 50)
"""The first ports of whole fleets; what is taken is skipped."""
