"""An application under another host name, under a path, or behind proxies.

Links need nothing more: all are made from the request's own path. It knows no page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from branchtrack.errors import InvalidInput
from branchtrack.web.access import guards

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def mount(app: Flask, *, hosts: Sequence[str] = (), hops: int = 0, prefix: str = "") -> None:
    """Make an application answer under ``hosts`` and a path, and trust a number of proxies.

    What ``hops`` proxies in a row write into X-Forwarded-For, -Proto, -Host and -Prefix is trusted:
    without a proxy every client could write it.

    Raises:
        InvalidInput: a host or the path is not valid.
    """
    for host in hosts:
        if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:]+", host):
            raise InvalidInput("trusted-host", host, "a name or address, without port and path")
    path = "/" + prefix.strip("/") if prefix.strip("/") else ""
    if not _PREFIX.fullmatch(path):
        raise InvalidInput("url-prefix", prefix, "a path such as /branchtrack")
    guards.trust_names(app, [host.lower() for host in hosts])
    app.config["BRANCHTRACK_PREFIX"] = path
    # Flask documents this assignment as the way to wrap an application.
    if path:
        app.wsgi_app = _Under(app.wsgi_app, path)  # type: ignore[method-assign]
    app.config["BRANCHTRACK_PROXIES"] = hops
    if hops:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops
        )


class _Under:
    """Middleware that puts an application under a path, whether or not a proxy removes it."""

    def __init__(self, app: _Application, path: str) -> None:
        self.app, self.path = app, path

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path_info = environ.get("PATH_INFO", "")
        if path_info == self.path or path_info.startswith(f"{self.path}/"):
            environ["PATH_INFO"] = path_info[len(self.path) :]
        environ["SCRIPT_NAME"] = self.path
        return self.app(environ, start_response)
