"""The order of files over pytest-xdist's workers: what takes long goes first, so that no worker is left with it at the end.

And no test with generated inputs fails because the machine is busy (hypothesis's deadline for an example is off), or for one
person alone: inputs are the same in each run. `RAGFLEET_TEST_RANDOM=1` looks for others.
"""

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("ragfleet", deadline=None, derandomize=not os.environ.get("RAGFLEET_TEST_RANDOM"))
hypothesis.settings.load_profile("ragfleet")

LONGEST_FIRST = ("tests/fleet", "tests/contract", "tests/component")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stable within a folder; needs `--no-loadscope-reorder`, or the workers take files with many tests first."""
    items.sort(
        key=lambda item: next((n for n, folder in enumerate(LONGEST_FIRST) if item.nodeid.startswith(folder)), 9)
    )
