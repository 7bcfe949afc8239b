"""A tree laid out over its steps."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.db.views import tree_nodes, tree_outline
from branchtrack.db.views.tree_log import Log
from branchtrack.db.views.tree_nodes import Thinning
from branchtrack.web.charts import timeline
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view.tree import TreeView, standing_nodes
from branchtrack.web.view.trials import Tried
from tests.web import seeds
from tests.web.conftest import Site
from tests.web.tried import make_trial


def view(site: Site, name: str, now: float, only: tuple[str, ...] = ()) -> TreeView:
    with site.database.read() as connection:
        outline = tree_outline.trees(connection, [name])[name]
        ids = standing_nodes(outline)
        marks = Thinning(0, 2000, 100)
        shown = [branch.id for branch in outline.branches if branch.name in only]
        found = tree_nodes.read(
            connection,
            outline.run.id,
            ids=ids,
            log=Log(shown),
            limit=100,
            marks=marks,
            sums=True,
        )
        return TreeView(outline, found, now)


def test_all_steps_that_there_are_are_shown(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    assert timeline.domain(tree.branches) == Domain(0, 2000)


def test_what_trains_has_room_to_grow_up_to_its_plan(own: Site) -> None:
    now = own.lines["main"].grower.began + 200
    tree = view(own, "digits", now)
    assert tree.branches[0].is_live
    assert timeline.domain(tree.branches) == Domain(0, 50)
    own.lines["main"].log("loss", [90], [0.1])
    own.lines["main"].beat()
    assert timeline.domain(view(own, "digits", now).branches) == Domain(0, 100)


def test_a_run_that_has_just_begun_shows_its_first_steps(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "fresh").line("main", 10_000)
    line.beat()
    tree = view(empty, "fresh", line.grower.began + 200)
    assert timeline.domain(tree.branches) == Domain(0, 50)
    assert timeline.domain([]) == Domain(0, 1)


def test_what_trains_beyond_its_plan_has_room_to_grow(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "long").line("main", 1000)
    line.log("loss", [1100], [0.1])
    line.beat()
    tree = view(empty, "long", line.grower.began + 200)
    assert tree.branches[0].is_live
    assert timeline.domain(tree.branches).high > 1100


def test_a_window_wins(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    assert timeline.domain(tree.branches, (500, None)) == Domain(500, 2000)
    assert timeline.domain(tree.branches, (None, 700)) == Domain(0, 700)
    assert timeline.domain(tree.branches, (5000, None)) == Domain(1999, 2000)


def test_a_label_that_would_fill_the_lane_has_the_name_alone(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "live").line("main")
    line.draw(100)
    tree = view(empty, "live", line.grower.began + 200)
    (lane,) = timeline.Drawing.of(tree, tree.branches, Domain(0, 200)).lanes
    (mark,) = [each for each in lane.marks if each.label]
    assert mark.label == "data.shards" and "code:1 prose:3 chat:1" in mark.title


def test_a_branch_whose_parent_has_no_lane_says_what_it_forked_from(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    by_name = {view.name: view for view in tree.branches}
    shown = [by_name["main"], by_name["more-decay"]]
    main, alone = timeline.Drawing.of(tree, shown, Domain(0, 2000)).lanes
    assert alone.parent is None and alone.marks[0].label.startswith("fork of cooler · weight_decay")
    assert alone.marks[0].title.startswith("fork of cooler · ")
    assert not any("fork of" in mark.title for mark in (*main.marks, *alone.marks[1:]))


def test_a_change_that_was_tried_has_its_verdict_beside_its_mark(own: Site) -> None:
    main = own.lines["main"]
    change = main.commit("intervention", 50, {"lr": 5e-3})
    pairs = [(2.0, 1.99), (2.1, 2.088), (1.9, 1.891), (2.05, 2.04)]
    trial = make_trial(main.grower, change, pairs, subject=change.id, is_grown=False)
    tree = replace(view(own, "digits", 0.0), tried=Tried.of([trial]))
    (lane,) = timeline.Drawing.of(tree, tree.branches, Domain(0, 100)).lanes
    (mark,) = [each for each in lane.marks if each.label]
    assert mark.label.startswith("lr ") and mark.label.endswith(" · helps")
    assert mark.title.endswith("step 50 · helps −0.010")
