"""Who may ask: the Host header, forged requests, the token; and what a browser may do with a page.

The forgery check is datasette's (and Go's): Sec-Fetch-Site, then Origin. It knows no page.
"""

from __future__ import annotations

import hashlib
import secrets
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.errors import BranchtrackError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_HOST = "*"
_SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; img-src 'self' data:"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(BranchtrackError):
    """A request that is turned away before any page sees it; ``status`` is the answer's."""

    status: int


def register(app: Flask, token: str | None) -> None:
    """Check every request of ``app`` and put the headers on every answer."""
    app.config["BRANCHTRACK_TOKEN"] = token
    app.config.setdefault("BRANCHTRACK_HOSTS", LOOPBACK)
    app.before_request(_check_host)
    app.before_request(_check_token)
    app.before_request(_check_origin)
    app.after_request(_add_headers)


def trust_host(app: Flask, host: str) -> None:
    """Let requests name the address that the server is bound to.

    Bound to every address the server cannot know its names; the token guards it then.
    """
    wildcard = host in ("", "0.0.0.0", "::")
    app.config["BRANCHTRACK_HOSTS"] = (*LOOPBACK, ANY_HOST if wildcard else host.lower())


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host() -> None:
    # Not Flask's TRUSTED_HOSTS: werkzeug cuts its entries at the first colon, so ::1 cannot be one.
    allowed = current_app.config["BRANCHTRACK_HOSTS"]
    try:
        name = urlsplit(f"//{request.environ.get('HTTP_HOST', '')}").hostname or ""
    except ValueError:
        name = ""
    if not name or (name not in allowed and ANY_HOST not in allowed):
        raise Refused(
            "This server does not go by the name in the request's Host header.",
            safe="Nothing was read or changed.",
            fix="Open the address that `branchtrack serve` printed.",
            status=400,
        )


def _check_token() -> AnyResponse | None:
    token = current_app.config["BRANCHTRACK_TOKEN"]
    g.has_token = token is not None and _carries(token)
    if token is None or request.endpoint in ("static", "chrome.icon"):
        return None
    if g.has_token:
        return _without_token(token) if "token" in request.args else None
    raise Refused(
        "This page needs the token of this server.",
        safe="Nothing was read or changed.",
        fix="Open the address that `branchtrack serve` printed: it carries the token once.",
        status=401,
    )


def _carries(token: str) -> bool:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = [bearer.strip()] if scheme.lower() == "bearer" else []
    given += [request.args["token"]] if "token" in request.args else []
    if any(secrets.compare_digest(one.encode(), token.encode()) for one in given):
        return True
    cookie = request.cookies.get(_cookie_name(), "")
    return secrets.compare_digest(cookie.encode(), _cookie_value(token).encode())


def _without_token(token: str) -> AnyResponse | None:
    """The same address without the token, which a cookie carries from now on."""
    if request.method not in ("GET", "HEAD"):
        return None
    rest = "&".join(
        part for part in request.query_string.decode().split("&") if not part.startswith("token=")
    )
    # Two leading slashes would name another host.
    path = "/" + request.path.lstrip("/")
    response = redirect(f"{path}?{rest}" if rest else path, 303)
    response.set_cookie(
        _cookie_name(), _cookie_value(token), max_age=30 * 86400, httponly=True, samesite="Strict",
        secure=request.is_secure,
    )  # fmt: skip
    return response


def _cookie_name() -> str:
    # Cookies do not know ports: two servers on one machine would log each other out.
    port = urlsplit(f"//{request.host}").port
    return f"branchtrack-{port or 80}"


def _cookie_value(token: str) -> str:
    return hashlib.sha256(f"branchtrack cookie {token}".encode()).hexdigest()


def _check_origin() -> None:
    if request.method in _SAFE:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        fine = site in ("same-origin", "none")
    elif origin is not None:
        fine = origin == f"{request.scheme}://{request.host}"
    else:
        # Neither header: no browser. A script shows the token, or there is none to show.
        fine = g.has_token or current_app.config["BRANCHTRACK_TOKEN"] is None
    if not fine:
        raise Refused(
            "The request came from a page of another site.",
            safe="Nothing was changed.",
            fix="Use the form on this server's own page.",
            status=403,
        )


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
