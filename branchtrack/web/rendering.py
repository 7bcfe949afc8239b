"""Rendering of a page or one of its fragments from one template, and globals of all templates.

htmx says in a header which element it will replace; if the template has a block of that name, only
that block is returned. It knows no page and no query.
"""

from __future__ import annotations

import re
import time
from typing import Any

from flask import Flask, Response, current_app, g, make_response, render_template, request
from jinja2.ext import Extension
from jinja2_fragments.flask import render_block
from markupsafe import Markup

from branchtrack.core.formats import NOTHING
from branchtrack.core.names import new_id
from branchtrack.web import formats
from branchtrack.web.services import services
from branchtrack.web.svg import marks

THEMES = ("system", "light", "dark")
KEYS = ("on", "off")


class Unindented(Extension):
    """An extension that does not send the indentation of templates, which is for their authors.

    A line break is still sent, as the space between two words; what is within ``<pre>`` has no
    indentation.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the template without indentation; line numbers stay the same."""
        return re.sub(r"^[ \t]+", "", source, flags=re.MULTILINE)


def register(app: Flask) -> None:
    """Give templates the filters and globals."""
    app.jinja_env.filters.update(formats.FILTERS)
    app.jinja_env.filters["ago"] = _ago
    app.jinja_env.globals.update(
        theme=theme,
        keys=keys,
        new_id=new_id,
        read_only=_read_only,
        style_of=marks.classes,
        NOTHING=NOTHING,
        run_of_address=_run_of_address,
    )
    app.jinja_env.add_extension(Unindented)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def respond(template: str, status: int = 200, **context: Any) -> Response:
    """Return the page, or the block that htmx requested."""
    block = wanted_block(template)
    if block is None:
        html = render(template, **context)
    else:
        html = formats.unturned(render_block(template, block, **context))
    response = make_response(html, status)
    response.headers["Cache-Control"] = "no-store" if block else "no-cache"
    response.vary.update(("HX-Request", "HX-Target", "Cookie"))
    return response


def render(template: str, **context: Any) -> str:
    """Return the whole page."""
    return formats.unturned(render_template(template, **context))


def wanted_block(template: str) -> str | None:
    """Return the block of ``template`` that htmx will insert, or None for a whole page.

    ``HX-Target`` has the form ``div#live``; for any other id the whole page is right, too.
    """
    if request.headers.get("HX-Request") != "true":
        return None
    block = request.headers.get("HX-Target", "").partition("#")[2]
    environment = current_app.jinja_env
    # The blocks of the frame are parts of a page, and cannot be rendered without it.
    frame = environment.get_template("base.html").blocks
    blocks = environment.get_template(template).blocks
    return block if block in blocks and block not in frame else None


def is_live() -> bool:
    """Return whether htmx will replace the part of a page that is kept up to date."""
    target = request.headers.get("HX-Target", "").partition("#")[2]
    is_refresh = request.method == "GET" and request.headers.get("HX-Request") == "true"
    return is_refresh and target in ("live", "list")


def now() -> float:
    """Return one time for the whole request, so that a page does not contradict itself."""
    if "now" not in g:
        g.now = time.time()
    return float(g.now)


def theme() -> str:
    """Return the theme in the cookie."""
    chosen = request.cookies.get("theme", "system")
    return chosen if chosen in THEMES else "system"


def keys() -> str:
    """Return whether single keys do something, as the cookie has it."""
    chosen = request.cookies.get("keys", "on")
    return chosen if chosen in KEYS else "on"


def _run_of_address() -> str:
    """Return the run in a page's address that also names others, even if its type is wrong."""
    try:
        return request.args.get("run", "")
    except UnicodeDecodeError:
        return ""


def _read_only() -> bool:
    return services().database.read_only


def _ago(moment: float | None) -> Markup:
    return formats.ago(moment, now())
