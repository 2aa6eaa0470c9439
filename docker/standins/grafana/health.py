"""Grafana's health path, and nothing else."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Health(BaseHTTPRequestHandler):
    """200 at /api/health."""

    def do_GET(self) -> None:
        """One request."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()


ThreadingHTTPServer(("0.0.0.0", 3000), Health).serve_forever()
