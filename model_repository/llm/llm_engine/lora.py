"""LoRA adapters by name: the configuration's, and the numbers that requests call them by."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from llm_engine.parameters import BadParameter


def task_id(name: str) -> int:
    """An adapter's `lora_task_id`, the same at every instance: 63 bits of a hash of its name (docs/contracts.md)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1


def parse(given: str) -> Mapping[int, Path]:
    """`name=file` with commas: by task id, in the order given. Raises BadParameter."""
    adapters: dict[int, Path] = {}
    for each in filter(None, map(str.strip, given.split(","))):
        name, equals, file = each.partition("=")
        path = Path(file.strip()).expanduser()
        if not (name.strip() and ":" not in name and equals and path.is_file()):
            raise BadParameter(
                f"llm: loras: {each!r} is not NAME=FILE, without a colon in NAME, with a file that is there"
            )
        if adapters.setdefault(task_id(name.strip()), path) is not path:
            raise BadParameter(f"llm: loras: {name.strip()!r} is there twice")
    return adapters
