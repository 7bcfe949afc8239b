"""The branches that are drawn, and how much of each curve is read for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from branchtrack.core.records import Branch
from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.chart_series import Metrics
from branchtrack.db.views.metric_overview import Overview, Values
from branchtrack.db.views.tree_outline import NodeSummary, Origin
from branchtrack.web.charts import tree_chart
from branchtrack.web.charts.tree_chart import CURVES
from branchtrack.web.view.tree import BranchView, TreeView, standing_nodes
from tests.web.conftest import Site


def node(number: int, branch: int, metrics: Mapping[str, Any]) -> NodeSummary:
    facts: dict[str, Any] = dict.fromkeys(NodeSummary.__annotations__)
    facts |= {"id": f"n{number}", "branch_id": f"b{branch}", "step": 10, "metrics": metrics}
    return NodeSummary(**facts)


def branch(
    number: int, *, parent: int | None = None, status: str = "finished", **metrics: float
) -> BranchView:
    row = Branch(f"b{number}", "r", f"branch-{number}", number, None, None, None, 1.0)
    origin = None if parent is None else Origin(f"b{parent}", "s", 10)
    return BranchView(row, None, status, node(number, number, metrics), None, origin)


def numbers(branches: list[BranchView]) -> list[int]:
    return [view.style for view in branches]


def test_few_branches_are_all_drawn() -> None:
    branches = [branch(number) for number in range(CURVES)]
    assert tree_chart.choose_branches(branches, "loss") == branches


def test_of_many_branches_those_that_train_the_best_and_the_newest_are_drawn() -> None:
    branches = [branch(number, loss=float(100 + number)) for number in range(200)]
    branches[120] = branch(120, status="running", loss=1000.0)
    branches[150] = branch(150, loss=0.1)
    branches[151] = branch(151, loss=math.nan)
    drawn = numbers(tree_chart.choose_branches(branches, "loss"))
    assert len(drawn) == CURVES and drawn == sorted(drawn)
    assert {0, 120, 150, 199, 198} <= set(drawn) and 151 not in drawn


def test_where_lower_is_not_better_the_newest_are_drawn() -> None:
    branches = [branch(number, accuracy=float(number)) for number in range(200)]
    assert numbers(tree_chart.choose_branches(branches, "accuracy"))[1:] == list(range(153, 200))


def test_no_curve_is_drawn_without_the_one_that_it_grew_from() -> None:
    branches = [branch(number) for number in range(100)]
    branches[99] = branch(99, parent=50)
    branches[50] = branch(50, parent=7)
    assert {7, 50, 99} <= set(numbers(tree_chart.choose_branches(branches, "loss")))


def tree_of(site: Site) -> TreeView:
    with site.database.read() as connection:
        outline = tree_outline.trees(connection, ["digits"])["digits"]
        ids = standing_nodes(outline)
        nodes = tree_nodes.read(connection, outline.run.id, ids=ids, limit=100)
    return TreeView(outline, nodes, site.lines["main"].grower.began + 200)


def test_a_branchs_curve_consists_of_stretches_of_segments(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    side = main.grower.fork(main.head, "side", lr=1e-4)
    tree = tree_of(own)
    spans = tree_chart.spans(tree, tree.branches[1])
    assert [(span.segment, span.after, span.upto) for span in spans] == [
        (main.segment.id, -1, 40),
        (side.segment.id, 40, None),
    ]


def test_the_stream_takes_over_from_the_last_point_of_each_metric(own: Site) -> None:
    tree, segment = tree_of(own), own.lines["main"].segment.id
    values = {"loss": {segment: Values(0.1, 2.0, 7, 0.1)}}
    overview = Overview(Metrics(("loss", "lr"), "loss", 2), values)
    # Of a metric without a point it takes over from the step of its process.
    assert tree_chart.cursor(tree, ("loss", "lr"), overview).reached == {segment: (7, 40)}
