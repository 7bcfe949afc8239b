"""Small endpoints on this machine that answer as they are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Writes an answer to a question, by hand.
Script = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class Asked(list[dict[str, Any]]):
    """The questions that came, with the headers of the last one; ``url`` is where to ask."""

    url = ""
    authorization: str | None = None


def completion(text: str | None, **usage: Any) -> bytes:
    """The body of a chat completion."""
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()


def saying(body: bytes, status: int = 200, **headers: str) -> Script:
    """Answer with a body."""

    def answer(handler: BaseHTTPRequestHandler, _question: dict[str, Any]) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def dripping(content: bytes, count: int = 200, seconds: float = 0.05) -> Script:
    """Answer with a head and its body a little at a time; without a status line if not told one."""

    def answer(handler: BaseHTTPRequestHandler, _question: dict[str, Any]) -> None:
        for _ in range(count):
            handler.wfile.write(content)
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


@contextmanager
def answering(script: Script) -> Iterator[Asked]:
    """An endpoint that answers every question by a script."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            question = json.loads(self.rfile.read(size))
            asked.authorization = self.headers.get("Authorization")
            asked.append({"path": self.path, **question})
            # Whoever asks may not wait for all of it.
            try:
                script(self, question)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    asked.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
