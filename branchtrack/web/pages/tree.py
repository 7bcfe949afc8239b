"""The tree page: a run's branches over training steps, their curves, and the log of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy import Connection

from branchtrack.config import Config
from branchtrack.core import formats
from branchtrack.core.records import Launch, Request
from branchtrack.db import audit, requests
from branchtrack.db.orders import launches, trials
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.metric_overview import Overview
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.web.access import guards
from branchtrack.web.charts import timeline, tree_chart, wall
from branchtrack.web.charts.wall import Look
from branchtrack.web.input import query
from branchtrack.web.pages import tree_address
from branchtrack.web.pages import wall as wall_parts
from branchtrack.web.pages.live_part import Sent
from branchtrack.web.rendering import now, respond, wanted_block
from branchtrack.web.services import services
from branchtrack.web.shared_answers import shared
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view import (
    branch_choice,
    branch_notices,
    log_tail,
    node_rows,
    request_lines,
)
from branchtrack.web.view.branch_choice import Folded, Rating
from branchtrack.web.view.branch_notices import BranchNotices
from branchtrack.web.view.tree import (
    BranchView,
    TreeView,
    counted,
    standing_nodes,
)
from branchtrack.web.view.trials import TrialLine, Tried

blueprint = Blueprint("tree", __name__)
TEMPLATE = "tree/index.html"
_REQUESTS = 20
#: Branches that the page offers to choose from, the best first.
_OFFERED = 100


@dataclass(frozen=True)
class Shown:
    """What is shown of a tree: some branches, charts of some metrics, and a page of the log."""

    tree: TreeView
    branches: Sequence[BranchView]
    rating: Rating
    overview: Overview
    names: Sequence[str]
    look: Look
    domain: Domain
    sent: Sent
    requests: Sequence[Request]

    @property
    def metric(self) -> str:
        """Return the metric of the first chart, whose values stand beside lanes and nodes."""
        return self.names[0]

    @cached_property
    def folded(self) -> list[Folded]:
        """Return the branches that are not shown."""
        return branch_choice.folded(self.tree, self.branches, self.rating)

    @property
    def is_narrowed(self) -> bool:
        """Return whether there are branches that are not shown."""
        return len(self.branches) < len(self.tree.branches)


@blueprint.get("/runs/<run>")
def show(run: str) -> Response:
    """Return the page, or only its live part if that is requested."""
    if wanted_block(TEMPLATE) != "live":
        return render_tree(run)
    return shared(guards.actor(), lambda: _newest_event(run), lambda: render_tree(run))


def render_tree(run: str, status: int = 200, errors: dict[str, Any] | None = None) -> Response:
    """Return the tree page; ``errors`` are those of the steering form, by field."""
    with services().database.read() as connection:
        shown = _read(connection, run, Sent(wanted_block(TEMPLATE) == "live"))
    listed_requests = _refreshed(shown.tree, shown.requests)
    notices = BranchNotices.of(shown.tree.branches)
    return respond(
        TEMPLATE,
        status,
        shown=shown,
        tree=shown.tree,
        branches=shown.branches,
        metric=shown.metric,
        sent=shown.sent,
        are_logged=any(map(shown.overview.has, shown.names)),
        wall_height=wall.height(len(shown.names)),
        wall_label=_label(shown),
        choices=wall_parts.choices(shown.overview.metrics, shown.names, shown.look),
        counts=counted(shown.tree.branches),
        requests=listed_requests,
        most_requests=_REQUESTS,
        described={listed.id: request_lines.describe_request(listed) for listed in listed_requests},
        cursor=tree_chart.cursor(shown.tree, shown.names, shown.overview),
        filters=tree_address.kept(),
        notices=notices,
        names_shown=branch_notices.NAMES,
        logs=_logs(shown.tree.refused, notices, services().config),
        worker_note=services().worker_note,
        errors=errors or {},
        **_branch_parts(shown),
        **_tree_parts(shown),
    )


def _newest_event(run: str) -> int:
    with services().database.read() as connection:
        return audit.last_id_of(connection, run)


def _read(connection: Connection, run: str, sent: Sent) -> Shown:
    look, requested = wall_parts.read_look(), wall_parts.requested_metrics()
    outline = tree_outline.trees(connection, [run], brief=True)[run]
    run_id = outline.run.id
    overview = wall_parts.read_overview(connection, outline, look, requested)
    names = wall.choose(overview.metrics, requested)
    # The branches without their nodes, which decide which nodes have to be read.
    bare = TreeView(outline, TreeNodes(), now())
    rating = wall_parts.rating(bare, overview, names[0])
    branches = branch_choice.choose(bare, tree_address.choice(), rating)
    domain = timeline.domain(branches, look.window)
    sent.check_charts(names, look)
    sent.check_lanes(outline.cursor, names[0], domain, branches)
    is_same = sent.has_lanes and sent.is_drawn
    nodes = tree_nodes.read(
        connection,
        run_id,
        ids=standing_nodes(outline),
        log=tree_address.log(branches, is_narrowed=len(branches) < len(bare.branches)),
        before=query.whole("before", 1),
        limit=node_rows.PAGE,
        marks=None if is_same else timeline.thinning(branches, domain),
        sums=not sent.live_only,
    )
    newest = launches.newest_of_run(connection, run_id) if outline.has_refused else None
    tried = Tried.of(trials.of_tree(connection, run_id)) if outline.has_trials else Tried()
    shown = {view.branch.id for view in branches}
    tree = TreeView(outline, nodes, now(), newest, tried, shown)
    branches = [tree.by_branch[view.branch.id] for view in branches]
    sent.check_nodes(names[0], nodes, tried)
    listed = requests.list_of_run(connection, run_id, _REQUESTS)
    return Shown(tree, branches, rating, overview, names, look, domain, sent, listed)


def _branch_parts(shown: Shown) -> dict[str, Any]:
    """Return what there is to choose from, and what is not shown of it."""
    tree, rating = shown.tree, shown.rating
    best = rating.best_first(tree.branches)
    rated = rating.values.keys()
    unrated = [view for view in tree.branches if view.branch.id not in rated]
    every = sorted([*best, *unrated], key=lambda view: view.branch.pinned_at is None)
    return {
        "folded": [part for part in shown.folded if not part.is_trial],
        "folded_trials": _trials(shown),
        "offered": every[:_OFFERED],
        "ticked": {view.name for view in shown.branches},
        "best": best[0] if best else None,
        "is_chosen": not tree_address.choice().is_default,
    }


def _trials(shown: Shown) -> list[tuple[Folded, Sequence[TrialLine]]]:
    """Return the trials of which the branches are not shown, the newest first."""
    by_group = shown.tree.tried.by_group
    parts = [part for part in shown.folded if part.is_trial]
    pairs = [(part, by_group.get(part.branches[0].branch.group_id or "", ())) for part in parts]
    return sorted(pairs, key=lambda pair: -pair[0].branches[0].branch.position)


def _tree_parts(shown: Shown) -> dict[str, Any]:
    """Return the lanes and the rows of nodes, and which of them the browser does not have yet."""
    sent, tree, metric = shown.sent, shown.tree, shown.metric
    sent.take_over()
    last = shown.overview.last(metric)
    parts: dict[str, Any] = {
        "ends": {view.name: view.reached(metric, last) for view in shown.branches},
        "rows": [],
        "row_changes": None,
        "timeline": None,
        "lane_changes": None,
    }
    if not sent.has_nodes:
        is_narrowed = shown.is_narrowed and not tree_address.is_wide()
        only = [view.name for view in shown.branches] if is_narrowed else []
        parts["rows"] = listed = node_rows.build(
            tree,
            metric,
            rating=shown.rating,
            only=only,
            connected=not tree_address.search(),
        )
        parts["row_changes"] = sent.changed_rows(metric, tree.nodes, listed)
    if not sent.has_lanes:
        root = request.script_root
        parts["timeline"] = drawing = timeline.Drawing.of(tree, shown.branches, shown.domain, root)
        beside = _beside(metric, shown.branches, parts["ends"])
        verdicts = [line.sentence for _part, lines in _trials(shown) for line in lines]
        parts["lane_changes"] = sent.changed_lanes(drawing, beside, verdicts)
    return parts


def _label(shown: Shown) -> str:
    """Describe the charts in a sentence, for those who do not see them."""
    last = shown.overview.last(shown.metric)
    reached = {view.name: view.reached(shown.metric, last) for view in shown.branches}
    ends = [
        f"{name} {formats.metric(value)} at step {formats.steps(step)}"
        for name, (step, value) in reached.items()
        if step is not None
    ]
    return f"{', '.join(shown.names)} over training; {shown.metric}: {'; '.join(ends)}"


def _beside(
    metric: str,
    branches: Sequence[BranchView],
    reached: Mapping[str, tuple[int | None, float | None]],
) -> list[Any]:
    """Return the values beside the lanes, without their names."""
    return [(metric, reached[view.name], view.certified) for view in branches]


def _refreshed(tree: TreeView, listed: Sequence[Request]) -> Sequence[Request]:
    database = services().database

    def reload() -> Sequence[Request]:
        with database.read() as connection:
            return requests.list_of_run(connection, tree.run.id, _REQUESTS)

    return request_lines.refresh_if_orphaned(
        database, listed, tree.outline.segments, tree.now, reload
    )


def _logs(refused: Launch | None, notices: BranchNotices, config: Config) -> dict[str, str]:
    """Return the last lines of output of the failed launches that are shown, by branch."""
    logs = {} if refused is None else {refused.id: log_tail.tail(config, refused)}
    return logs | {
        view.name: log_tail.tail(config, view.launch)
        for view in notices.stopped
        if view.launch is not None and "failed" in (view.status, view.launch.state)
    }
