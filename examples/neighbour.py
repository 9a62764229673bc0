"""A server on this machine that belongs to neither agent: it has a page of documentation, and keeps whatever is posted to it.

    neighbour.py FOLDER        # prints its port, then serves until it is ended

Each posted body becomes a file in FOLDER, so that `run.py` can see what really left an agent. It listens on loopback only.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DOCS = b"add(a, b) is the sum of both: add(2, 3) == 5\n"


class Neighbour(BaseHTTPRequestHandler):
    """GET /docs answers the page, POST keeps the body, anything else is not found."""

    kept: Path

    def do_GET(self) -> None:
        self._answer(200, DOCS) if self.path == "/docs" else self._answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        (self.kept / f"{len(list(self.kept.iterdir()))}.bin").write_bytes(body)
        self._answer(200, b"thanks\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: the transcript is the agents'."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Neighbour.kept = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Neighbour) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
