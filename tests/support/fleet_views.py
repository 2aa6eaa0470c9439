"""Waiting for what the fleet's store shows."""

import asyncio
from collections.abc import Callable

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetView


async def view_where(store: FleetState, holds: Callable[[FleetView], bool], timeout_s: float) -> FleetView:
    """The first view for which something holds, looked for every millisecond. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not holds(store.view):
            await asyncio.sleep(0.001)
        return store.view
