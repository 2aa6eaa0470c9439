"""Where the servers of these tests listen: from RAGFLEET_TEST_PORTS on, so that two checkouts can be tested side by side.

The tests in tests/fleet begin at the same number and skip what is taken.
"""

import os

BASE = int(os.environ.get("RAGFLEET_TEST_PORTS", "21200")) + 400

CONSUL = BASE
"""And the two after it."""
LLM = {"simulated": BASE + 10, "llamacpp": BASE + 20, "llmapi": BASE + 30}
"""HTTP of the Triton of each flavour; gRPC and metrics follow it, as they do below."""
CRASHING = BASE + 40
LLMAPI = BASE + 50
TENSORRTLLM = BASE + 60
NOBODY = BASE + 99
"""Nothing listens here."""
