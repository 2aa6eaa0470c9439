"""A receiver of traces that keeps nothing: `python -m benchmarks.tracing.sink PORT`. GET gives the bytes that came."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

received = [0]


class Sink(BaseHTTPRequestHandler):
    """OTLP/HTTP, as far as an exporter asks for it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Spans."""
        received[0] += len(self.rfile.read(int(self.headers["content-length"])))
        self._answer(b"")

    def do_GET(self) -> None:
        """How many bytes."""
        self._answer(str(received[0]).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
