"""How the log of a process looks: lines of text, or a JSON object a line with the ids of the request and the trace."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

from gateway.setting_values import LogFormat
from gateway.telemetry import trace_id

CURRENT_REQUEST: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being served."""
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """A line: time (UTC), level, logger, message; request_id and trace_id where there are any; the stack of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := CURRENT_REQUEST.get():
            fields["request_id"] = request_id
        if found := trace_id():
            fields["trace_id"] = found
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def configure(log_format: LogFormat) -> None:
    """Set up the root logger, from INFO on, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
