"""The comparison of two branches: their curves from the fork on, and all their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response as AnyResponse

from branchtrack.analysis.comparison import payloads, payloads_weights, reading
from branchtrack.analysis.comparison.side_by_side import SideBySide
from branchtrack.analysis.comparison.sides import Directory
from branchtrack.core.names import is_id_prefix, storable
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.web import formats
from branchtrack.web.charts import axes, chart, comparison, plots
from branchtrack.web.charts import side_by_side as side_by_side_charts
from branchtrack.web.charts.guides import steps_to_mark
from branchtrack.web.input import query
from branchtrack.web.pages import wall
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import node_comparison
from branchtrack.web.view.comparison import Comparison, read
from branchtrack.web.view.tree import HELD_OUT

blueprint = Blueprint("compare", __name__)

#: What an address names more than two lines by, or by their group.
_SEVERAL = ("with", "group", "base")
_SETTINGS, _BANDS = ("differing", "all"), ("0", "1")

#: Weights up to this are compared without being asked for.
_UNASKED_BYTES = 1 << 27


@blueprint.get("/compare")
def show() -> AnyResponse:
    """Return the page; branches ticked on a tree page are redirected to its proper address."""
    if "pick" in request.args:
        return _from_ticks()
    if _is_several():
        return _several()
    chosen = _options()
    with services().database.read() as connection:
        compared = _read(connection)
        several = compared.side_by_side
        documents = payloads.read_documents(connection, several)
    upper, lower = comparison.build_charts(compared, **chosen)
    return respond(
        "compare/index.html",
        compared=compared,
        styles=[compared.style(compared.a), compared.style(compared.b)],
        all_settings=query.choice("settings", _SETTINGS) == "all",
        **_differences(several, documents),
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
        axes=axes.choices(compared.metrics, chosen["axis"]),
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
    if planned.nodes[0].id == planned.nodes[1].id:
        raise InvalidInput("b", b, "another node", what="A node was compared with itself.")
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
    with services().database.read() as connection:
        compared = _read(connection, whole=True)
    head = ("step", compared.a.ref, compared.b.ref, "difference")
    name = f"{compared.a.name}-{compared.b.name}-{compared.metric}.csv".replace("/", "_")
    answer = Response(formats.spreadsheet(head, compared.table()), mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


@blueprint.get("/compare/chart")
def chart_data() -> Response:
    """Return the charts' values for the script that draws them."""
    chosen = _options()
    if _is_several():
        del chosen["at"]
        with services().database.read() as connection:
            several = _read_several(connection, *_lines(connection))
        drawn = side_by_side_charts.build_charts(several, **chosen)
    else:
        with services().database.read() as connection:
            compared = _read(connection)
        drawn = comparison.build_charts(compared, **chosen)
    return jsonify(charts=[each.as_json() for each in drawn])


def _is_several() -> bool:
    """Return whether the address names more than two branches, or a node, as one of them may be."""
    pair = [request.args.get(name, "").strip() for name in ("a", "b")]
    return any(name in request.args for name in _SEVERAL) or any(map(_is_node, pair))


def _is_node(ref: str) -> bool:
    return "@" in ref or is_id_prefix(ref)


def _several() -> AnyResponse:
    """Return the page of more than two, or of nodes; two branches lead to their own."""
    chosen = _options()
    del chosen["at"]
    is_whole = query.choice("settings", _SETTINGS) == "all"
    with services().database.read() as connection:
        directory, refs, grouped = _lines(connection)
        if len(refs) == 2 and not grouped and all("/" in r and not _is_node(r) for r in refs):
            return _pair(refs)
        several = _read_several(connection, directory, refs, grouped)
        documents = payloads.read_documents(connection, several)
    upper, lower = side_by_side_charts.build_charts(several, **chosen)
    filters = _filters_of_several()
    return respond(
        "compare/several.html",
        **_differences(several, documents),
        styles=side_by_side_charts.styles(several),
        upper=upper,
        lower=lower,
        upper_plot=plots.plot(upper),
        upper_axis=plots.y_axis(upper),
        lower_plot=plots.plot(lower),
        lower_axis=plots.y_axis(lower),
        samples_rows=chart.sampled(upper.lines),
        settings=several.settings(),
        all_settings=is_whole,
        metrics=several.newest(),
        changed=several.changes(),
        options={**chosen, "smooth": f"{chosen['weight']:g}"},
        axes=axes.choices(several.metrics.names, chosen["axis"]),
        filters=filters,
        bases=[(line.ref, line.name) for line in several.lines],
        smoothing=[(f"{value:g}", f"{value:g}" if value else "none") for value in chart.SMOOTHING],
    )


def _differences(several: SideBySide, documents: Mapping[str, str]) -> dict[str, Any]:
    """Return what the pages of two and of several lines have in common."""
    return {
        "several": several,
        "ranked": payloads.ranked(several),
        "higher": is_higher_better(several.ranked_by),
        "shares": payloads.shares(several, documents),
        "surroundings": payloads.surroundings(several, documents),
    }


def _pair(refs: Sequence[str]) -> AnyResponse:
    """Redirect to the page of two branches, of which the base comes first."""
    base, metric = request.args.get("base") or refs[0], request.args.get("metric") or None
    named = [ref for ref in refs if base in (ref, ref.partition("/")[2])]
    if not named:
        raise InvalidInput("base", base, "one of " + ", ".join(refs))
    a, b = refs if named[0] == refs[0] else refs[::-1]
    return redirect(url_for("compare.show", a=a, b=b, metric=metric), 303)


def _lines(connection: Connection) -> tuple[Directory, list[str], dict[str, list[str]]]:
    """Return what the address compares: branches and nodes, and groups that are one line each."""
    refs = [request.args.get(name, "").strip() for name in ("a", "b")]
    refs = [ref for ref in (*refs, *map(str.strip, request.args.getlist("with"))) if ref]
    groups = [text.strip() for text in request.args.getlist("group") if text.strip()]
    directory = Directory(connection, refs, groups)
    grouped = {ref: names for group in groups for ref, names in directory.members(group).items()}
    every = [*refs, *(ref for each in grouped.values() for ref in each)]
    if query.choice("bands", _BANDS) == "0" and len(set(every)) <= reading.MOST:
        return directory, list(dict.fromkeys(every)) if groups else refs, {}
    return directory, refs, grouped


def _read_several(
    connection: Connection, directory: Directory, refs: list[str], grouped: dict[str, list[str]]
) -> SideBySide:
    base, metric = request.args.get("base") or None, request.args.get("metric") or None
    several = reading.read(
        connection,
        refs,
        grouped=grouped,
        base=base,
        metric=metric,
        counter=_counter(),
        directory=directory,
    )
    _check_metric(several.metrics.names, metric)
    _check_counter(several.metrics.names, several.buckets)
    return several


def _references(noun: str, written: str) -> tuple[str, str]:
    a, b = request.args.get("a", "").strip(), request.args.get("b", "").strip()
    for field, text in (("a", a), ("b", b)):
        if not text:
            raise InvalidInput(field, text, f"two {noun} {written}", what=f"Two {noun} are needed.")
    return a, b


def _read(connection: Connection, *, whole: bool = False) -> Comparison:
    a, b = _references("branches", "as RUN/BRANCH")
    metric, window = request.args.get("metric") or None, query.window()
    compared = read(connection, a, b, metric, counter=_counter(), window=window, whole=whole)
    _check_metric(compared.metrics, request.args.get("metric") or None)
    _check_counter(compared.metrics, compared.buckets)
    return compared


def _counter() -> str | None:
    """Return the metric that is the horizontal axis, if one is."""
    return axes.counter(storable(request.args.get("x") or "step"))


def _check_metric(names: Sequence[str], metric: str | None) -> None:
    # Branches that have logged nothing yet are compared by what will be in them.
    if metric is not None and metric not in (names or (wall.FOLLOWED[0],)):
        fix = "These exist: " + ", ".join(names) + "." if names else ""
        raise NotFound("metric", metric, names, fix=fix)


def _check_counter(names: Sequence[str], buckets: Mapping[str, Any]) -> None:
    if (counter := _counter()) is not None and counter not in buckets:
        allowed = ", ".join([*axes.AXES, *axes.counters(names)])
        raise InvalidInput("x", counter, f"{allowed}, or a metric that was logged")


def _from_ticks() -> AnyResponse:
    """Redirect from two to eight ticked branches (with a slash), nodes, or groups to their page."""
    picked = list(dict.fromkeys(name for name in request.args.getlist("pick") if name))
    groups = list(dict.fromkeys(name for name in request.args.getlist("group") if name))
    count = len(picked) + len(groups)
    if not 2 <= count <= reading.MOST:
        raise InvalidInput(
            "pick",
            [*picked, *groups],
            f"boxes of 2 to {reading.MOST} different branches, nodes or groups",
            what="One was ticked." if count == 1 else f"{count} were ticked.",
        )
    metric = request.args.get("metric") or None
    if count == 2 and not groups and not all("/" in name for name in picked):
        return redirect(url_for("compare.nodes", a=picked[0], b=picked[1]), 303)
    values: dict[str, Any] = {"metric": metric, "with": picked[2:], "group": groups}
    values["bands"] = "1" if groups else None
    values |= dict(zip(("a", "b"), picked, strict=False))
    return redirect(url_for("compare.show", **values), 303)


def _options() -> dict[str, Any]:
    # Those of the page of several are checked for two as well.
    query.choice("settings", _SETTINGS)
    query.choice("bands", _BANDS)
    return {
        "axis": request.args.get("x") or "step",
        "log": query.choice("y", ("linear", "log")) == "log",
        "weight": query.weight(chart.SMOOTHING, 0.6),
        "window": query.window(),
        "at": steps_to_mark(),
    }


def _filters() -> dict[str, Any]:
    """Return the choices in the address, which every link of the page keeps."""
    low, high = query.window()
    names = ("a", "b", "metric", "x", "y", "smooth", "settings")
    choices = {name: request.args.get(name) or None for name in names}
    return {**choices, "from": low, "to": high, "at": steps_to_mark()}


def _filters_of_several() -> dict[str, Any]:
    low, high = query.window()
    names = ("a", "b", "base", "metric", "x", "y", "smooth", "settings", "bands")
    choices: dict[str, Any] = {name: request.args.get(name) or None for name in names}
    lists = {name: request.args.getlist(name) or None for name in ("with", "group")}
    return {**choices, **lists, "from": low, "to": high}


def _tabled(compared: Comparison) -> list[str]:
    """Return the metrics for the table: the one shown, and the loss on data not trained on."""
    return [compared.metric] + [HELD_OUT] * (
        HELD_OUT in compared.metrics and HELD_OUT != compared.metric
    )
