"""Where the seconds of CPU went: for each part of a fleet, by what its processes run."""

from collections import defaultdict
from collections.abc import Mapping

import psutil

_PARTS = {  # a word of the command line → what the table calls it; the first that fits
    "/embedding/1/model.py": "embedding",
    "/llm/1/model.py": "llm",
    "triton_python_backend_stub": "the other models",
    "tritonserver": "Triton",
    "ragfleet.milvus_lite": "Milvus Lite",
    "gateway.ingestion.converter_process": "converters",
    "gateway.ingestion": "ingestion",
}


def seconds_by_part(home: str) -> Mapping[str, float]:
    """Seconds of CPU, so far, of the living processes whose state folder is `home`."""
    found: dict[str, float] = defaultdict(float)
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAGFLEET_HOME") != home:
                continue
            words = " ".join(process.cmdline())
            used = process.cpu_times()
        except psutil.Error:
            continue
        part = next((name for word, name in _PARTS.items() if word in words), "others")
        found[part] += used.user + used.system
    return found
