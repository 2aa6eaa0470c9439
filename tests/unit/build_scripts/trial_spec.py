"""A small spec to change in tests."""

from __future__ import annotations

from typing import Any

import yaml


def spec_with(model: str | dict[str, Any] = "llama-3.1-8b-instruct", **changes: Any) -> str:
    """YAML of a spec for an H100, with `changes` laid over it (mappings are merged)."""
    data: dict[str, Any] = {
        "model": model,
        "node": {"card": "H100", "gpus": 8},
        "limits": {"max_batch_size": 64, "max_input_len": 8192, "max_seq_len": 10240, "max_num_tokens": 8192},
        "serving": {"concurrency": 8},
    }
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            data[key] |= value
        else:
            data[key] = value
    return yaml.safe_dump(data)
