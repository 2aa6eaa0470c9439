"""LoRA adapters as `llm` knows them."""

import hashlib


def task_id(name: str) -> int:
    """An adapter's `lora_task_id`, the same at every instance: 63 bits of a hash of its name (docs/contracts.md)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1
