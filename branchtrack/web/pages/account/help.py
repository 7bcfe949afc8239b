"""Help: what the marks and keys mean, the words, and where more is written."""

from __future__ import annotations

from flask import Blueprint, Response
from markupsafe import Markup

from branchtrack.web.rendering import respond
from branchtrack.web.svg import marks

blueprint = Blueprint("help", __name__)


@blueprint.get("/help")
def show() -> Response:
    """Return the page."""
    return respond("account/help.html", mark_of=_mark, dashes=range(marks.COLOURS))


def _mark(kind: str) -> Markup:
    """Return a mark as trees draw it, in the colour of a first branch."""
    drawn = marks.mark(kind, 10, 10)
    return marks.el("svg", drawn, width=20, height=20, class_="lines b0 d0", aria_hidden="true")
