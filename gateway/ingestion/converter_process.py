"""`python -m gateway.ingestion.converter_process`: converts and cuts one file after the other, confined (confinement.py).

One JSON object a line comes in, one goes out: `{"chunks": […], "names": […], "receipt": {…}}` or
`{"error": {"code", "message"}}`. The converted document is written to the path that the task names. The end of the input ends the
process.
"""

import json
import os
import sys
import sysconfig
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gateway
from gateway.ingestion import confinement
from gateway.ingestion.confinement import ProcessLimits
from gateway.knowledge.chunking import Chunk, Chunker, token_counter
from gateway.knowledge.code.outline import Outline, line_at, line_starts, outline
from gateway.knowledge.conversion import MAX_CHARS, convert_bytes
from gateway.knowledge.converters.tesseract import Tesseract, TesseractUnavailable
from gateway.knowledge.converters.text_recognition import TextRecognition
from gateway.knowledge.documents import DocumentError

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/dev/null", "/dev/urandom"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)
_DOCUMENT_BYTES = 8 * MAX_CHARS
"""Of a file that is written here: a document as JSON, or a library's temporary one."""


def main() -> int:
    """The loop. Arguments: the embedding model's folder, the folder to write to, the limit of the address space in bytes, and the
    languages of text recognition, or `none`."""
    folder, scratch, languages = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    limits = ProcessLimits(memory_bytes=int(sys.argv[3]), file_bytes=_DOCUMENT_BYTES)
    for lack in confinement.confine(limits, readable=[*_libraries(), folder], writable=scratch):
        print(f"converter: not confined as it should be: {lack}", file=sys.stderr)
    chunker = Chunker(count=token_counter(folder))
    tesseract = None if languages == "none" else _tesseract(languages)
    for line in sys.stdin:
        task = json.loads(line)
        confinement.allow_cpu(task["cpu_s"])
        answers.write(json.dumps(answer(task, chunker, tesseract), ensure_ascii=False) + "\n")
        answers.flush()
    return 0


def answer(task: dict[str, Any], chunker: Chunker, tesseract: Tesseract | None = None) -> dict[str, Any]:
    """Convert one file, and cut it. MemoryError is the file's fault; whatever else is not foreseen ends the process."""
    try:
        recognition = None if tesseract is None else TextRecognition(tesseract)
        document = convert_bytes(task["name"], Path(task["content"]).read_bytes(), recognition)
        read = outline(document.text, document.title) if document.markup == "code" else None
        chunks = chunker.limited(task["max_tokens"], task["overlap_tokens"]).chunks(document, read)
        Path(task["document"]).write_bytes(document.to_json())
    except DocumentError as error:
        return {"error": {"code": error.code, "message": str(error)}}
    except MemoryError:
        message = f"{task['name']} needs more memory to be read than is given to one file; split it"
        return {"error": {"code": "invalid_file", "message": message}}
    return {
        "chunks": [[chunk.index, chunk.indexed, chunk.page, chunk.start, chunk.end] for chunk in chunks],
        "names": [] if read is None else names_of(read, document.text, chunks),
        "receipt": document.receipt(),
    }


def names_of(read: Outline, text: str, chunks: Sequence[Chunk]) -> list[list[Any]]:
    """Of each name: role, name, scope, kind, line, last line, chunk. A call or an import counts once in a chunk."""
    lines, begins = line_starts(text), [chunk.start for chunk in chunks]

    def chunk_at(offset: int) -> int:
        return max(0, bisect_right(begins, offset) - 1)

    made: list[list[Any]] = []
    for each in read.definitions:
        last = line_at(lines, max(each.start, each.end - 1))
        made.append(
            [
                *("definition", each.name, each.scope, each.kind.value),
                *(line_at(lines, each.named_at), last, chunk_at(each.named_at)),
            ]
        )
    for role, uses in (("call", read.calls), ("import", read.imports)):
        seen: set[tuple[str, int]] = set()
        for use in uses:
            chunk, line = chunk_at(use.at), line_at(lines, use.at)
            if (use.name, chunk) not in seen:
                seen.add((use.name, chunk))
                made.append([role, use.name, "", "", line, line, chunk])
    return made


def _tesseract(languages: str) -> Tesseract | None:
    """None where the machine has none: pictures are then skipped by name, as without the setting."""
    try:
        return Tesseract(languages)
    except TesseractUnavailable as error:
        print(f"converter: pictures are not read: {error}", file=sys.stderr)
        return None


def _libraries() -> list[Path]:
    """Where imports find what a converter needs: this interpreter's own folders, its packages and this program."""
    paths = sysconfig.get_paths()
    places = [*_SYSTEM, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))]
    return [Path(place) for place in (*places, os.path.join(sys.base_prefix, "lib"), *gateway.__path__)]  # noqa: PTH118


if __name__ == "__main__":
    sys.exit(main())
