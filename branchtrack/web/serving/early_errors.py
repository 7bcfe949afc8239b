"""Errors that waitress answers itself, before or instead of the application.

A head that is too large, a body that is too long, and a request that is not HTTP never reach the
application. Programs read these errors in the one shape, too. It knows no connection.
"""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

from flask import Flask
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from werkzeug.exceptions import HTTPException, default_exceptions

from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError
from branchtrack.web.access import identity

_FIXES = {413: "Send at most 1 MiB.", 431: "Send fewer or shorter headers, or a shorter address."}


class EarlyErrorTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """The answer to a request that the application cannot answer."""

    def execute(self) -> None:
        """Answer a program in JSON, and everybody else as waitress does."""
        app: Flask = self.channel.server.app
        # After a fault of the application `self.request` is made anew, without a path.
        if not identity.is_api_path(app, _path(app, self.channel.requests[0])):
            super().execute()
            return
        error = self.request.error
        body = _as_json(error.code, f"{error.reason}: {error.body}.").encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


def _path(app: Flask, request: HTTPRequestParser) -> str:
    """Return the path that was requested, as the application would see it."""
    # Of a head that is too large waitress makes up a line; the beginning of it has been kept.
    is_whole = request.headers_finished
    line = getattr(request, "first_line", b"") if is_whole else request.header_plus.lstrip()
    target = b"".join(line.split(b" ", 2)[1:2]).decode("latin-1")
    prefix = app.config.get("BRANCHTRACK_PREFIX", "")
    # A client may send a whole URL; one that is not valid must not fail here.
    path = re.sub(r"^https?://[^/]*", "", target).partition("?")[0]
    return unquote(path).removeprefix(prefix)


def _as_json(status: int, what: str) -> str:
    problem = BranchtrackError(what, safe="Nothing was changed.", fix=_FIXES.get(status, ""))
    if status >= 500:
        problem.safe = "Training runs in other processes and is not touched by this."
    kind = default_exceptions.get(status, HTTPException).__name__
    return json.dumps({"error": {**error_payload(problem), "type": kind, "status": status}})
