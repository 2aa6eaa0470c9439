"""The peers' placement, written from their published formulas with their published defaults, and the oracle.

Fairness. Every peer meets the same traces, sees the same scrapes at the same age, and gets what its real design has
besides: its own count of requests in flight, updated at once (all but EPP); a prefix tree or index of what it sent
itself (SGLang, EPP); the workers' KV events, taken here as immediate and exact (Dynamo); the workers' queued tokens
(smg, which SGLang's load endpoint gives and TensorRT-LLM's metrics do not). Retries, and leaving out an instance
that refused, are done for all of them alike by the simulation. Where a tie is not defined it is drawn at random.
"""

from collections.abc import Callable
from random import Random
from types import MappingProxyType

from benchmarks.routing.peers.dynamo import Dynamo
from benchmarks.routing.peers.epp import Epp
from benchmarks.routing.peers.oracle import Oracle
from benchmarks.routing.peers.sglang import Sglang
from benchmarks.routing.peers.simple import LeastRequests, PowerOfTwo, RoundRobin
from benchmarks.routing.peers.smg import Smg
from benchmarks.routing.router import Router
from benchmarks.routing.world import World

BY_NAME: MappingProxyType[str, Callable[[World, int, Random], Router]] = MappingProxyType(
    {
        "round robin": RoundRobin,
        "least requests": LeastRequests,
        "power of two": PowerOfTwo,
        "smg least_load": Smg,
        "sglang cache_aware": Sglang,
        "llm-d EPP": Epp,
        "dynamo KV": Dynamo,
        "oracle": Oracle,
    }
)
