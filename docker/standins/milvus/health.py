"""Milvus's health path: 200 while the port of its API takes connections."""

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Health(BaseHTTPRequestHandler):
    """Asks the server's port each time."""

    def do_GET(self) -> None:
        """One request."""
        try:
            socket.create_connection(("127.0.0.1", 19530), timeout=2).close()
        except OSError:
            self.send_response(500)
        else:
            self.send_response(200)
        self.end_headers()


ThreadingHTTPServer(("0.0.0.0", 9091), Health).serve_forever()
