"""`python -m gateway.ingestion.converter`: converts and cuts one file after the other, within limits of memory.

One JSON object a line comes in, one goes out: `{"chunks": […], "receipt": {…}}` or `{"error": {"code", "message"}}`. The
converted document is written to the path that the task names. The end of the input ends the process.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from gateway.knowledge.chunking import Chunker, token_counter
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import DocumentError


def main() -> int:
    """The loop. Arguments: the embedding model's folder, and the limit of the address space in bytes."""
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chunker = Chunker(count=token_counter(folder))
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), chunker), ensure_ascii=False) + "\n")
        answers.flush()
    return 0


def answer(task: dict[str, Any], chunker: Chunker) -> dict[str, Any]:
    """Convert one file, and cut it. MemoryError is the file's fault; whatever else is not foreseen ends the process."""
    try:
        document = convert_bytes(task["name"], Path(task["content"]).read_bytes())
        chunks = chunker.limited(task["max_tokens"], task["overlap_tokens"]).chunks(document)
        Path(task["document"]).write_bytes(document.to_json())
    except DocumentError as error:
        return {"error": {"code": error.code, "message": str(error)}}
    except MemoryError:
        message = f"{task['name']} needs more memory to be read than is given to one file; split it"
        return {"error": {"code": "invalid_file", "message": message}}
    return {
        "chunks": [[chunk.index, chunk.indexed, chunk.page, chunk.start, chunk.end] for chunk in chunks],
        "receipt": document.receipt(),
    }


if __name__ == "__main__":
    sys.exit(main())
