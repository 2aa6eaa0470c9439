"""Log lines that people read and machines parse: time, level, part, then `event key=value …` (logfmt)."""

import json
import logging
import sys
from datetime import UTC, datetime


def event(words: str, **fields: object) -> str:
    """`words` followed by its fields; values with spaces or quotes are quoted as JSON strings."""
    return " ".join([words, *(f"{key}={_quoted(value)}" for key, value in fields.items())])


def configure(part: str) -> None:
    """Sends every log record of this process to standard error, one line each, under the name `part`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(part))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z info triton-0 words key=value`."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{at} {record.levelname.lower()} {self._part} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _quoted(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    plain = bool(text) and not any(character.isspace() or character in '"=' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
