"""Checks of every request: the Host header, forgery, the token and its role; and its headers.

The forgery check is datasette's (and Go's): Sec-Fetch-Site, then Origin. `identity` finds out who
makes the request. It knows no page.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import cast
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from flask import Flask, Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, Forbidden
from branchtrack.web import services
from branchtrack.web.access import identity
from branchtrack.web.access.limits import Limit, Tally

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_HOST = "*"
_SAFE = ("GET", "HEAD", "OPTIONS")
#: Posts that every role may make: the look of a page, and what refuses by itself and records that.
_FOR_ALL = ("theme.choose", "theme.switch_keys", "me.sign_out")
_REFUSE_THEMSELVES = ("steer.submit", "api_requests.submit")
_LIMITS = "branchtrack-limits"
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
    """A request that is refused before any page sees it; ``status`` is that of the answer."""

    status: int


class Limits:
    """The limits of a token, or of an address without one: all requests, refused, and unknown."""

    def __init__(self, database: Database) -> None:
        #: A page with its styles, stream and polling makes fewer than 10 requests a second.
        self.all = Limit(rate=50.0, burst=1000.0)
        #: Posts that were refused: each of them is recorded or counted.
        self.refused = Limit(rate=1.0, burst=40.0)
        self.strangers = Limit(rate=5.0, burst=100.0)
        #: Processor time in units of 10 ms: a third of one core, after 5 seconds at once.
        self.work = Limit(rate=33.0, burst=500.0)
        self.tally = Tally(lambda counts: control.count_refusals(database, counts))


def limits(app: Flask) -> Limits:
    """Return the limits of an application."""
    return cast(Limits, app.extensions[_LIMITS])


def register(app: Flask, token: str | None) -> None:
    """Check every request of ``app``, and put the headers on every answer."""
    app.config["BRANCHTRACK_TOKEN"] = token
    app.config.setdefault("BRANCHTRACK_HOSTS", LOOPBACK)
    app.extensions[_LIMITS] = Limits(services.services_of(app).database)
    app.before_request(_begin_work)
    app.before_request(_check_host)
    app.before_request(_check_text)
    app.before_request(_check_token)
    app.before_request(_check_rate)
    app.before_request(_check_origin)
    app.before_request(_check_role)
    app.after_request(_count_refused)
    app.teardown_request(_charge_work)
    app.after_request(_add_headers)
    app.jinja_env.globals.update(
        own_address=own_address, denied_reason=denied_reason, who=lambda: g.get("actor")
    )


def trust_host(app: Flask, host: str) -> None:
    """Let requests name the address that the server is bound to.

    Bound to all addresses, the server cannot know its names; then only the token protects it.
    """
    wildcard = host in ("", "0.0.0.0", "::")
    trust_names(app, [ANY_HOST if wildcard else host.lower()])


def trust_names(app: Flask, names: Iterable[str]) -> None:
    """Let requests name these hosts as well."""
    app.config["BRANCHTRACK_HOSTS"] = (*app.config["BRANCHTRACK_HOSTS"], *names)


def is_loopback(host: str) -> bool:
    """Return whether an address to bind to can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host() -> None:
    # Not Flask's TRUSTED_HOSTS: werkzeug cuts its entries at the first colon, so ::1 cannot be one.
    allowed = current_app.config["BRANCHTRACK_HOSTS"]
    # Two such headers arrive as one with a comma, and it is unclear which of them is meant.
    header = _HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
    name = header[1].strip("[]").lower() if header else ""
    if not name or (name not in allowed and ANY_HOST not in allowed):
        raise Refused(
            "This server does not go by the name in the request's Host header.",
            safe="Nothing was read or changed.",
            fix="Open the address that `branchtrack serve` printed, or name the host: "
            "`branchtrack serve --trusted-host NAME`.",
            status=400,
        )


def _check_text() -> None:
    """Refuse an address whose names nothing can have, rather than find others by what is left."""
    path = request.environ.get("PATH_INFO", "").encode("latin-1")
    try:
        unquote_to_bytes(request.query_string).decode()
        what = "has a NUL character" if "\0" in path.decode() else ""
    except UnicodeDecodeError:
        what = "is not valid UTF-8"
    if what:
        raise Refused(
            f"The request's address {what}.",
            safe="Nothing was read or changed.",
            fix="Encode bytes outside of ASCII as %XX of UTF-8.",
            status=400,
        )


def actor() -> Actor:
    """Return the actor who makes the current request."""
    current: Actor = g.actor
    return current


def denied_reason(*names: str, deed: str = "request") -> str:
    """Return why the caller may not change anything, or do these things; empty if they may.

    ``deed`` as in `core.actors.check`.
    """
    try:
        actors.check(g.get("actor") or Actor("nobody", "viewer"), deed, names)
    except Forbidden as error:
        return error.what
    return ""


def _check_token() -> AnyResponse | None:
    g.actor, g.holder = None, ""
    if request.endpoint in ("static", "theme.icon"):
        return None
    g.actor = identity.identify(current_app.config["BRANCHTRACK_TOKEN"])
    if g.actor is not None:
        return _without_token() if g.holder and "token" in request.args else None
    _turn_away(limits(current_app).strangers.take(_address()))
    raise Refused(
        "This page needs the token of this server, or one that `branchtrack token create` made.",
        safe="Nothing was read or changed.",
        fix="Open the address that `branchtrack serve` printed: it carries the token once.",
        status=401,
    )


def _check_rate() -> None:
    """Limit the requests of each caller; refusals of steering requests are counted."""
    if g.get("actor") is None:
        return
    all_of_them = limits(current_app)
    seconds = max(all_of_them.all.take(caller()), all_of_them.work.wait(caller()))
    if request.method not in _SAFE:
        seconds = max(seconds, all_of_them.refused.wait(caller()))
        if seconds and request.endpoint in _REFUSE_THEMSELVES:
            run, branch = (request.view_args or {}).values()
            all_of_them.tally.add(f"{run}/{branch}", actor().label, "RateLimited")
    _turn_away(seconds)


def _begin_work() -> None:
    g.began = time.thread_time()


def _charge_work(_error: BaseException | None) -> None:
    """Charge a token for the time that its request took; the server's own user has no limit."""
    began, who = g.pop("began", None), g.get("actor")
    if began is not None and who is not None and who.token_id is not None:
        limits(current_app).work.charge(caller(), (time.thread_time() - began) * 100)


def _count_refused(response: Response) -> Response:
    if request.method not in _SAFE and 400 <= response.status_code < 500 and g.get("actor"):
        limits(current_app).refused.take(caller())
    return response


def _turn_away(seconds: float) -> None:
    if seconds:
        raise Refused(
            "There were more requests than this server allows one caller.",
            safe="Nothing was read or changed.",
            fix=f"Try again in {math.ceil(seconds)} s.",
            status=429,
            retry_after=math.ceil(seconds),
        )


def caller() -> str:
    """Return the key that a request is counted under: its token, or its address without one."""
    return str(g.holder or _address())


def _address() -> str:
    return request.remote_addr or "?"


def _without_token() -> AnyResponse | None:
    """Redirect to the address without the token, which a cookie replaces from now on."""
    if request.method not in ("GET", "HEAD"):
        return None
    response = redirect(own_address(), 303)
    response.set_cookie(
        identity.cookie_name(),
        identity.cookie_value(),
        max_age=identity.COOKIE_DAYS * 86400,
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
        path=request.script_root or "/",
    )
    return response


def own_address(*without: str) -> str:
    """Return the address of the page as a whole path, without a token and some parameters."""
    parts = request.query_string.decode(errors="replace").split("&")
    left_out = ("token", *without)
    rest = "&".join(pair for pair in parts if unquote_plus(pair.partition("=")[0]) not in left_out)
    # Two leading slashes would name another host.
    path = "/".join(["", *filter(None, [request.script_root.strip("/")]), request.path.lstrip("/")])
    path = quote(path, safe="/:@!$&'()*+,;=~")
    return f"{path}?{rest}" if rest else path


def _check_role() -> None:
    """Refuse changes by callers who may only look."""
    if request.method in _SAFE or request.endpoint in (None, *_FOR_ALL, *_REFUSE_THEMSELVES):
        return
    actors.check(actor(), "request")


def _check_origin() -> None:
    if request.method in _SAFE:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        fine = site in ("same-origin", "none")
    elif origin is not None:
        fine = origin == f"{request.scheme}://{request.host}"
    else:
        # Neither header: no browser. A script has to send the token, or the server has none.
        fine = bool(g.holder) or current_app.config["BRANCHTRACK_TOKEN"] is None
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
