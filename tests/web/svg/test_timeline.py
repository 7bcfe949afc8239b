"""Branches over steps."""

from __future__ import annotations

from branchtrack.web.svg.timeline import Domain, Lane, LaneMark, height, render_timeline
from tests.web import dom


def lane(
    name: str = "main",
    parent: int | None = None,
    start: int = 0,
    end: int = 100,
    live: bool = False,
    marks: tuple[LaneMark, ...] = (),
) -> Lane:
    return Lane(name, 0, start, end, parent, live, marks)


def drawing(*lanes: Lane, domain: Domain | None = None) -> dom.Element:
    return dom.parse(str(render_timeline(lanes, domain or Domain(0, 200), "in words"))).children[0]


def test_it_is_an_image_with_a_label() -> None:
    found = drawing(lane())
    assert (found["role"], found["aria-labelledby"]) == ("img", "reached")
    assert found.one("desc", id="reached").text == "in words"
    assert found["height"] == str(height(1))


def test_a_lane_runs_from_its_start_to_its_end() -> None:
    stretch = drawing(lane(start=50, end=150)).one("line", class_="stretch")
    assert (stretch["x1"], stretch["x2"]) == ("25%", "75%")


def test_a_fork_bows_to_the_left_between_the_lanes() -> None:
    found = drawing(lane(), lane("side", 0, 50, 100))
    path = found.one("path", class_="fork")
    assert path["d"].startswith("M0,-34C-")
    assert path.parent is not None and path.parent["x"] == "25%"


def test_labels_never_overlap() -> None:
    marks = tuple(LaneMark(step, "change", "t", "/", f"lr {step}") for step in range(0, 100, 2))
    labels = drawing(lane(marks=marks)).all("text", class_="label")
    places = [float(one["x"].rstrip("%")) * 10 for one in labels]
    assert 1 < len(places) < 50
    assert all(b - a >= 6 * 6.4 for a, b in zip(places, places[1:], strict=False))


def test_a_label_at_the_right_edge_is_written_to_the_left() -> None:
    found = drawing(lane(marks=(LaneMark(199, "change", "t", "/", "weight_decay 0 → 1"),)))
    assert found.one("text", class_="label")["text-anchor"] == "end"


def test_crowded_checkpoints_are_thinned_but_changes_are_not() -> None:
    rings = tuple(LaneMark(step, "ring", "t", "/") for step in range(0, 1000))
    change = LaneMark(500, "change", "t", "/", "")
    found = drawing(lane(end=1000, marks=(*rings, change)), domain=Domain(0, 1000))
    assert 50 < len(found.all("circle", class_="bare")) < 130
    assert len(found.all("path", class_="solid")) == 1


def test_of_very_many_nodes_plain_checkpoints_are_bare_rings() -> None:
    rings = tuple(LaneMark(step, "ring", "t", f"/nodes/{step}") for step in range(0, 500))
    change = LaneMark(500, "change", "t", "/", "")
    found = drawing(lane(end=1000, marks=(*rings, change)), domain=Domain(0, 1000))
    assert [one["data-href"] for one in found.all("circle", class_="bare")][:2] == [
        "/nodes/0",
        "/nodes/9",
    ]
    assert len(found.all("svg", class_="mark")) == 1


def test_what_lies_outside_of_the_steps_shown_is_left_out() -> None:
    marks = (LaneMark(10, "change", "t", "/", "early"), LaneMark(90, "change", "t", "/", "late"))
    found = drawing(lane(end=100, live=True, marks=marks), domain=Domain(50, 80))
    assert found.all("svg", class_="mark") == []
    assert found.all("circle", class_="pulse") == []
    stretch = found.one("line", class_="stretch")
    assert (stretch["x1"], stretch["x2"]) == ("0%", "100%")


def test_titles_and_names_are_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    found = drawing(lane(nasty, marks=(LaneMark(5, "change", nasty, nasty, nasty),)))
    assert found.all("script") == []
    assert found.one("title").text == nasty


def test_a_run_that_has_not_begun_is_drawn() -> None:
    assert drawing(lane(end=0), domain=Domain(0, 1)).all("line", class_="stretch") == []
    assert drawing(domain=Domain(0, 1))["height"] == str(height(0))
