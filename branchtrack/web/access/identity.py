"""The identity of callers: a token made into an actor, and the cookie that stands for a token.

The server's own token stands for the operating-system user; the others are rows of the database,
found by the digest of the token. What a request says about itself is never believed, and a secret
is never stored, printed or put into a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request

from branchtrack.control import local_actor
from branchtrack.core.actors import Actor
from branchtrack.core.records import Token
from branchtrack.db import tokens
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError
from branchtrack.web.rendering import now
from branchtrack.web.services import services

COOKIE_DAYS = 30
#: The configuration's paths that programs use, beside those of the API.
JSON_PATHS = "BRANCHTRACK_JSON_PATHS"
_OWN = "server"


def identify(server_token: str | None) -> Actor | None:
    """Return the actor that a request shows to be; None if it shows nothing that gives access.

    Without a ``server_token`` a request without any token is the operating-system user's.
    """
    shown = _shown()
    for secret in shown:
        if server_token is not None and hmac.compare_digest(secret.encode(), server_token.encode()):
            return _as_user(_OWN)
        token = _by_secret(secret)
        if token is not None:
            return _as_token(token)
    if shown:
        return None
    found_by_cookie = _by_cookie(server_token)
    if found_by_cookie is None and server_token is None:
        return _as_user("")
    return found_by_cookie


def is_in_force(database: Database, actor: Actor) -> bool:
    """Return whether an actor still has access: a token may have been revoked since."""
    if actor.token_id is None:
        return True
    with database.read() as connection:
        return tokens.in_force(connection, actor.token_id) is not None


def cookie_name() -> str:
    """Return the name of the cookie on this port."""
    # Cookies ignore ports: two servers on one machine would log each other out.
    port = urlsplit(f"//{request.host}").port
    return f"branchtrack-{port or 80}"


def cookie_value() -> str:
    """Return the cookie for the token: its id, sealed with a key that only this server has.

    A token's row is read on each use, so that a revoked one gives no access.
    """
    return f"{g.holder}.{_seal(g.holder)}"


def _shown() -> list[str]:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    credentials = [bearer.strip()] if scheme.lower() == "bearer" else []
    return credentials + ([request.args["token"]] if "token" in request.args else [])


def _by_secret(secret: str) -> Token | None:
    if not secret.startswith(tokens.PREFIX):
        return None
    with services().database.read() as connection:
        return tokens.find_secret(connection, secret)


def _by_cookie(server_token: str | None) -> Actor | None:
    holder, _, seal = request.cookies.get(cookie_name(), "").partition(".")
    if not holder or not hmac.compare_digest(seal.encode(), _seal(holder).encode()):
        return None
    if holder == _OWN:
        return _as_user(_OWN) if server_token is not None else None
    with services().database.read() as connection:
        token = tokens.in_force(connection, holder)
    return None if token is None else _as_token(token)


def _seal(holder: str) -> str:
    token = current_app.config["BRANCHTRACK_TOKEN"]
    # A server without a token makes a key; its cookies are valid until the server ends.
    key = current_app.config.setdefault("BRANCHTRACK_COOKIE_KEY", secrets.token_bytes(32))
    key = token.encode() if token is not None else key
    return hmac.new(key, f"branchtrack cookie {holder}".encode(), hashlib.sha256).hexdigest()


def _as_user(holder: str) -> Actor:
    g.holder = holder
    return Actor(local_actor(), "admin", _channel())


def _as_token(token: Token) -> Actor:
    g.holder = token.id
    if tokens.is_stale(token, now()) and not services().database.read_only:
        # Access does not depend on whether the use of the token can be recorded.
        with suppress(StorageError), services().database.transaction() as connection:
            tokens.touch(connection, token.id)
    return Actor(token.name, token.role, _channel(), token.id, token.only, token.limit)


def is_api() -> bool:
    """Return whether the current request is a program's, which reads answers as JSON."""
    return is_api_path(current_app, request.path)


def is_api_path(app: Flask, path: str) -> bool:
    """Return whether programs use a path, which read answers as JSON."""
    return path.startswith(("/api/", "/it/")) or path in app.config.get(JSON_PATHS, ())


def _channel() -> str:
    return "api" if is_api() else "web"
