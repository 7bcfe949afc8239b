"""The application: its parts put together, and the one table from errors to HTTP statuses.

It must not know what any page shows.
"""

from __future__ import annotations

import gzip
import logging
from typing import Any, cast

from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException
from werkzeug.urls import iri_to_uri

from branchtrack import errors
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.interventions import INTERVENTIONS
from branchtrack.core.nonfinite import spelled
from branchtrack.db.engine import Database
from branchtrack.error_payload import error_payload
from branchtrack.errors import BranchtrackError, printable
from branchtrack.paths import asset_dir
from branchtrack.web import rendering, services, stripped
from branchtrack.web.access import guards, identity
from branchtrack.web.api.routes import BLUEPRINTS
from branchtrack.web.events import streams
from branchtrack.web.input import parameters
from branchtrack.web.pages import (
    agents,
    alerts,
    audit,
    code,
    compare,
    continuation,
    data,
    launches,
    manage,
    node,
    resume,
    runs,
    steer,
    storage,
    theme,
    trash,
    tree,
    wall,
)
from branchtrack.web.pages.account import help as help_page
from branchtrack.web.pages.account import me, tokens
from branchtrack.web.pages.downloads import report
from branchtrack.web.pages.trials import listing as trial_list
from branchtrack.web.pages.trials import order as trial_order
from branchtrack.web.pages.trials import show as trial
from branchtrack.web.protocol import routes as protocol_routes
from branchtrack.web.view import request_lines, unseen_alerts

#: The status of each family of errors; the nearest class in an error's ancestry decides.
STATUS: dict[type[BranchtrackError], int] = {
    BranchtrackError: 500,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.IllegalTransition: 409,
    errors.BranchTaken: 409,
    errors.HomeError: 503,
    errors.ReadOnlyHome: 409,
    errors.SchemaError: 503,
    errors.StorageError: 503,
    errors.CheckpointError: 409,
    errors.DataChanged: 409,
    errors.RankLost: 409,
    errors.NotLive: 409,
    errors.NotAnswered: 504,
    errors.RequestFailed: 409,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.LaunchFailed: 409,
    errors.Unreachable: 503,
    errors.ClusterUnreachable: 503,
}
#: How what we serve ourselves is sent, by its type.
_STRIPPED = {"text/javascript": stripped.script, "text/css": stripped.style}
_COMPRESSED = ("text/", "application/json", "application/javascript", "image/svg+xml")
_YEAR = 365 * 86400
_LARGEST_FORM = 1 << 20
_log = logging.getLogger(__name__)


class _Json(DefaultJSONProvider):
    """JSON that every reader accepts: NaN and the infinities are spelled as text.

    Text is not escaped: `_Response` replaces unpaired surrogates, of which strict readers refuse
    the escapes, too.
    """

    ensure_ascii = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(spelled(obj), **{"allow_nan": False, **kwargs})


class _Response(Response):
    """A response that accepts unpaired surrogates in text, which earlier versions stored."""

    def set_data(self, value: bytes | str) -> None:
        """Set the data, with unpaired surrogates replaced."""
        super().set_data(printable(value) if isinstance(value, str) else value)


def create_app(
    config: Config,
    database: Database,
    store: Store,
    *,
    token: str | None,
    worker_note: str = "",
    protocol: str | None = None,
) -> Flask:
    """Return the web application. ``token=None`` gives everyone access: for loopback only.

    ``protocol`` names the branch that ``/state``, ``/actions`` and ``/events`` speak for.
    """
    app = Flask(
        __name__,
        template_folder=str(asset_dir("templates")),
        static_folder=str(asset_dir("static")),
    )
    app.json = _Json(app)
    app.response_class = _Response
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_FORM
    services.register(app, services.Services(config, database, store, worker_note))
    guards.register(app, token)
    app.before_request(parameters.check)
    rendering.register(app)
    app.jinja_env.globals["refusals_of"] = request_lines.refusals_of
    app.jinja_env.globals["interventions"] = INTERVENTIONS
    app.jinja_env.globals["unseen_alerts"] = unseen_alerts.count
    _register_blueprints(app)
    protocol_routes.mount(app, protocol)
    app.register_error_handler(BranchtrackError, _show_error)
    app.register_error_handler(HTTPException, _show_http_error)
    app.register_error_handler(Exception, _show_surprise)
    app.before_request(_whole_assets)
    app.after_request(_cache)
    app.after_request(_compress)
    return app


def status_of(error: BranchtrackError) -> int:
    """Return the HTTP status for an error."""
    if isinstance(error, guards.Refused):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _register_blueprints(app: Flask) -> None:
    pages = (
        runs,
        tree,
        wall,
        report,
        node,
        compare,
        resume,
        continuation,
        steer,
        launches,
        storage,
        audit,
    )
    views = (*pages, alerts, agents, data, manage, trash, code, theme, streams)
    others = (tokens, me, help_page, trial_list, trial_order, trial)
    for blueprint in (*(module.blueprint for module in (*views, *others)), *BLUEPRINTS):
        app.register_blueprint(blueprint)


def _show_error(error: BranchtrackError) -> tuple[Response | str, int, dict[str, str]]:
    status = status_of(error)
    wait = error.facts.get("retry_after")
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if identity.is_api():
        return _as_json(error, status), status, headers
    if status == 404 and rendering.is_live():
        # The page is no longer live: the browser leaves it for the page of the error.
        headers["HX-Redirect"] = iri_to_uri(guards.own_address(*parameters.LIVE))
    return rendering.render("error.html", error=error, status=status), status, headers


def _as_json(error: BranchtrackError, status: int, **others: Any) -> Response:
    return jsonify(error={**error_payload(error), "status": status, **others})


def _show_http_error(error: HTTPException) -> Response | tuple[Response | str, int]:
    if error.code is None or error.code < 400:
        return cast(Response, error.get_response())
    is_api = identity.is_api()
    fixes = {404: "Start from the list of runs.", 405: "Use the form on the page."}
    if is_api:
        fixes = dict.fromkeys(fixes, "GET /api/v1/openapi.json lists every route.")
    missing = f"There is no such {'route' if is_api else 'page'}."
    problem = BranchtrackError(
        missing if error.code == 404 else (error.description or error.name),
        safe="Nothing was changed.",
        fix=fixes.get(error.code, ""),
    )
    if is_api:
        return _as_json(problem, error.code, type=type(error).__name__), error.code
    return rendering.render("error.html", error=problem, status=error.code), error.code


def _show_surprise(error: Exception) -> tuple[Response | str, int]:
    _log.exception("unexpected error at %s", request.path, exc_info=error)
    problem = BranchtrackError(
        f"The server failed with an unexpected {type(error).__name__}.",
        safe="Training runs in other processes and is not touched by this.",
        fix="The server's log has the details; please report them.",
    )
    if identity.is_api():
        return _as_json(problem, 500), 500
    return rendering.render("error.html", error=problem, status=500), 500


def _cache(response: Response) -> Response:
    if request.endpoint == "static" and response.status_code == 200:
        # A vendored file's name has its version; browsers revalidate our own files by ETag.
        rule = "no-cache" if _is_own_asset() else f"public, max-age={_YEAR}, immutable"
        response.headers["Cache-Control"] = rule
    return response


def _whole_assets() -> None:
    """Send our own files whole: what is sent of them has other bytes than the file."""
    if _is_own_asset():
        request.environ.pop("HTTP_RANGE", None)


def _is_own_asset() -> bool:
    return request.endpoint == "static" and not request.path.startswith("/static/vendor/")


def _compress(response: Response) -> Response:
    fits = (
        response.status_code not in (204, 304)
        and not response.is_streamed
        and _is_text(response)
        and "Content-Encoding" not in response.headers
    )
    if request.endpoint == "static":
        # A file is passed through as an iterator, and would count as streamed.
        fits = response.status_code == 200 and _is_text(response)
        response.direct_passthrough = response.direct_passthrough and not fits
    if not fits:
        return response
    if _is_own_asset() and response.mimetype in _STRIPPED:
        response.set_data(_STRIPPED[response.mimetype](response.get_data(as_text=True)))
    response.vary.add("Accept-Encoding")
    content = response.get_data()
    if request.accept_encodings["gzip"] and len(content) > 500:
        # A file is requested once and cached; a page is made anew each time.
        level = 9 if request.endpoint == "static" else 5
        response.set_data(gzip.compress(content, level, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
        # The bytes differ from the file's, so its strong tag no longer holds for them.
        tag, _weak = response.get_etag()
        if tag is not None:
            response.set_etag(tag, weak=True)
    return response


def _is_text(response: Response) -> bool:
    return (response.mimetype or "").startswith(_COMPRESSED)
