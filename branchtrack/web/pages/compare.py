"""The comparison of two branches: their curves from the fork on, and all their differences."""

from __future__ import annotations

import csv
import io
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.analysis import payloads_weights
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.web.charts import chart, comparison, plots
from branchtrack.web.charts.guides import steps_to_mark
from branchtrack.web.input import query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import node_comparison
from branchtrack.web.view.comparison import Comparison, read
from branchtrack.web.view.tree import HELD_OUT

blueprint = Blueprint("compare", __name__)

#: Weights up to this are compared without being asked for.
_UNASKED_BYTES = 1 << 27


@blueprint.get("/compare")
def show() -> AnyResponse:
    """Return the page; branches ticked on a tree page are redirected to its proper address."""
    if "pick" in request.args:
        return _from_ticks()
    chosen = _options()
    compared = _read()
    upper, lower = comparison.build_charts(compared, **chosen)
    return respond(
        "compare/index.html",
        compared=compared,
        a=compared.a,
        b=compared.b,
        metric=compared.metric,
        upper=upper,
        lower=lower,
        upper_plot=plots.plot(upper),
        upper_axis=plots.y_axis(upper),
        lower_plot=plots.plot(lower),
        lower_axis=plots.y_axis(lower),
        samples_rows=chart.sampled(upper.lines),
        settings=compared.settings(),
        tables=[(name, compared.common(name)) for name in _tabled(compared)],
        facts=compared.facts(),
        interventions=compared.interventions(),
        options={**chosen, "smooth": f"{chosen['weight']:g}"},
        filters=_filters(),
        smoothing=[(f"{value:g}", f"{value:g}" if value else "none") for value in chart.SMOOTHING],
    )


@blueprint.get("/compare/nodes")
def nodes() -> Response:
    """Return the comparison of two nodes; a branch stands for its last one."""
    a, b = _references("nodes", "by their ids")
    with services().database.read() as connection:
        compared = node_comparison.read(connection, a, b)
    return respond("compare/nodes.html", compared=compared, a=compared.a, b=compared.b)


@blueprint.get("/compare/weights")
def weights() -> Response:
    """Return how far the weights of two sides are apart; with ``most=page``, of small ones only."""
    a, b = _references("sides", "as RUN/BRANCH or as nodes")
    is_part = query.choice("most", ("all", "page")) == "page"
    with services().database.read() as connection:
        planned = payloads_weights.plan(connection, a, b)
    size = payloads_weights.size(planned)
    later = size if is_part and size > _UNASKED_BYTES else 0
    # Files are read without a transaction.
    measured = (
        {"rows": [], "notes": []}
        if later
        else payloads_weights.measured(services().store, planned, payloads_weights.MOST)
    )
    return respond("compare/weights.html", a=a, b=b, planned=planned, weights=measured, later=later)


@blueprint.get("/compare.csv")
def as_csv() -> Response:
    """Return every point of both branches: step, A, B, and the difference where both have one."""
    compared = _read()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", compared.a.ref, compared.b.ref, "difference"])
    writer.writerows(compared.table())
    name = f"{compared.a.name}-{compared.b.name}-{compared.metric}.csv".replace("/", "_")
    answer = Response(text.getvalue(), mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _references(noun: str, written: str) -> tuple[str, str]:
    a, b = request.args.get("a", "").strip(), request.args.get("b", "").strip()
    for field, text in (("a", a), ("b", b)):
        if not text:
            raise InvalidInput(field, text, f"two {noun} {written}", what=f"Two {noun} are needed.")
    return a, b


def _read() -> Comparison:
    a, b = _references("branches", "as RUN/BRANCH")
    with services().database.read() as connection:
        compared = read(connection, a, b, request.args.get("metric") or None)
    if compared.metric not in compared.metrics and request.args.get("metric"):
        fix = "These exist: " + ", ".join(compared.metrics) + "." if compared.metrics else ""
        raise NotFound("metric", compared.metric, compared.metrics, fix=fix)
    return compared


def _from_ticks() -> AnyResponse:
    """Redirect from two ticked branches (with a slash) or nodes to the page of their comparison."""
    picked = list(dict.fromkeys(name for name in request.args.getlist("pick") if name))
    if len(picked) != 2:
        count = f"{len(picked)} were" if len(picked) != 1 else "One was"
        raise InvalidInput(
            "pick", picked, "boxes of two different branches or nodes", what=f"{count} ticked."
        )
    a, b = picked
    if "/" in a and "/" in b:
        metric = request.args.get("metric") or None
        return redirect(url_for("compare.show", a=a, b=b, metric=metric), 303)
    return redirect(url_for("compare.nodes", a=a, b=b), 303)


def _options() -> dict[str, Any]:
    return {
        "axis": query.choice("x", chart.AXES),
        "log": query.choice("y", ("linear", "log")) == "log",
        "weight": query.weight(chart.SMOOTHING, 0.6),
        "window": query.window(),
        "at": steps_to_mark(),
    }


def _filters() -> dict[str, Any]:
    """Return the choices in the address, which every link of the page keeps."""
    low, high = query.window()
    names = ("a", "b", "metric", "x", "y", "smooth")
    choices = {name: request.args.get(name) or None for name in names}
    return {**choices, "from": low, "to": high, "at": steps_to_mark()}


def _tabled(compared: Comparison) -> list[str]:
    """Return the metrics for the table: the one shown, and the loss on data not trained on."""
    return [compared.metric] + [HELD_OUT] * (
        HELD_OUT in compared.metrics and HELD_OUT != compared.metric
    )
