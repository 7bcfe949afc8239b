"""A run as one file that needs no server: its tree, charts, branches, changes and proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response
from markupsafe import Markup
from sqlalchemy import Connection

from branchtrack.core.records import Node
from branchtrack.db.orders import trials
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.metric_overview import Overview
from branchtrack.db.views.tree_log import Log
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.web import rendering
from branchtrack.web.charts import plots, timeline, wall
from branchtrack.web.charts.chart import Chart
from branchtrack.web.pages import tree_address
from branchtrack.web.pages import wall as wall_parts
from branchtrack.web.rendering import now
from branchtrack.web.services import services
from branchtrack.web.svg import standalone
from branchtrack.web.svg import timeline as lanes
from branchtrack.web.svg.marks import classes, el
from branchtrack.web.view import branch_choice, node_rows
from branchtrack.web.view.branch_choice import Rating
from branchtrack.web.view.node_rows import NodeRow
from branchtrack.web.view.tree import BranchView, TreeView, standing_nodes
from branchtrack.web.view.trials import TrialLine, Tried, lines

blueprint = Blueprint("report", __name__)
_POINTS = 2400
#: Rows of the log, the newest first, and settings that differ.
_ROWS, _SETTINGS, _TRIALS = 500, 60, 100


@dataclass(frozen=True)
class Report:
    """What a report shows of a run; ``settings`` has those that differ, by name and branch.

    ``tried`` are the changes of the newest trials, ``more_trials`` the number of the others.
    """

    tree: TreeView
    branches: Sequence[BranchView]
    rating: Rating
    overview: Overview
    names: Sequence[str]
    charts: Sequence[Chart]
    rows: Sequence[NodeRow]
    settings: Mapping[str, Mapping[str, Any]]
    tried: Sequence[TrialLine]
    more_trials: int

    @property
    def picture(self) -> Markup:
        """Return the tree over its steps, and the charts on the same axis."""
        shown = timeline.domain(self.branches, (None, None))
        drawing = timeline.Drawing.of(self.tree, self.branches, shown)
        tall = lanes.height(len(self.branches))
        drawings = [("", _lane_names(self.branches), drawing.whole, tall)]
        drawings += [
            (drawn.metric, plots.y_axis(drawn), plots.plot(drawn), drawn.height)
            for drawn in self.charts
        ]
        return Markup(standalone.stack(drawings))


@blueprint.get("/runs/<run>/report.html")
def download(run: str) -> Response:
    """Return the report as a file."""
    answer = Response(render(run), mimetype="text/html")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{run}.html")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def render(run: str) -> str:
    """Return the report of a run, of the branches and metrics that the address asks for.

    Raises:
        NotFound: the run, a branch or a metric does not exist.
    """
    with services().database.read() as connection:
        report = _read(connection, run)
    return rendering.render("report/index.html", report=report, tree=report.tree)


def _read(connection: Connection, run: str) -> Report:
    look, requested = wall_parts.read_look(), wall_parts.requested_metrics()
    outline = tree_outline.trees(connection, [run], brief=True)[run]
    overview = wall_parts.read_overview(connection, outline, look, requested)
    names = wall.choose(overview.metrics, requested)
    bare = TreeView(outline, TreeNodes(), now())
    rating = wall_parts.rating(bare, overview, names[0])
    branches = branch_choice.choose(bare, tree_address.choice(), rating)
    is_narrowed = len(branches) < len(bare.branches)
    nodes = tree_nodes.read(
        connection,
        outline.run.id,
        ids=standing_nodes(outline),
        log=Log([view.branch.id for view in branches] if is_narrowed else (), is_folded=True),
        limit=_ROWS,
        marks=timeline.thinning(branches, timeline.domain(branches, look.window)),
        sums=True,
    )
    records = trials.of_tree(connection, outline.run.id) if outline.has_trials else []
    ids = {view.branch.id for view in branches}
    tree = TreeView(outline, nodes, now(), tried=Tried.of(records), shown=ids)
    branches = [tree.by_branch[view.branch.id] for view in branches]
    curves = wall_parts.read_curves(connection, tree, branches, names, look)
    heads = tree_outline.nodes_by_id(connection, [view.branch.head_id or "" for view in branches])
    shown = [view.name for view in branches] if is_narrowed else []
    return Report(
        tree,
        branches,
        rating,
        overview,
        names,
        wall.build(tree, branches, curves, names, look, _POINTS),
        node_rows.build(tree, names[0], only=shown),
        _settings(branches, heads),
        [line for record in records[: -_TRIALS - 1 : -1] for line in lines(record)],
        max(0, len(records) - _TRIALS),
    )


def _settings(
    branches: Sequence[BranchView], heads: Mapping[str, Node]
) -> dict[str, dict[str, Any]]:
    """Return the settings in force at the last nodes that are not the same on all branches."""
    by_branch = {
        view.name: head.settings
        for view in branches
        if (head := heads.get(view.branch.head_id or "")) is not None
    }
    names = sorted({name for settings in by_branch.values() for name in settings})
    rows = {
        name: {branch: settings.get(name) for branch, settings in by_branch.items()}
        for name in names
    }
    differing = {name: row for name, row in rows.items() if len(set(map(repr, row.values()))) > 1}
    return dict(list(differing.items())[:_SETTINGS])


def _lane_names(branches: Sequence[BranchView]) -> Markup:
    return Markup("").join(
        el("text", view.name, x=12, y=lanes.middle(row) + 4, class_=f"name {classes(view.style)}")
        for row, view in enumerate(branches)
    )
