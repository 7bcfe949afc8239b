"""Lineage, common ancestors and lanes, against naive models."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from branchtrack.core import tree
from branchtrack.core.tree import Span


def test_a_root_segment_owns_all_its_points() -> None:
    assert tree.lineage("a", {"a": None}.__getitem__) == [Span("a", -1, None)]


def test_the_parent_owns_points_up_to_the_fork_and_the_child_those_above() -> None:
    origins = {"a": None, "b": ("a", 10)}
    assert tree.lineage("b", origins.__getitem__) == [Span("a", -1, 10), Span("b", 10, None)]


def test_a_fork_of_a_fork_at_its_first_node_takes_nothing_from_it() -> None:
    origins = {"a": None, "b": ("a", 10), "c": ("b", 10)}
    assert tree.lineage("c", origins.__getitem__) == [Span("a", -1, 10), Span("c", 10, None)]


@st.composite
def chains(draw: st.DrawFn) -> list[int]:
    """The steps at which each of a chain of segments starts; every fork lies on its parent."""
    steps = [0]
    for _ in range(draw(st.integers(0, 6))):
        steps.append(draw(st.integers(steps[-1], steps[-1] + 5)))
    return steps


@given(chains(), st.integers(0, 40))
def test_every_step_has_exactly_one_owner(steps: list[int], step: int) -> None:
    origins: dict[str, tuple[str, int] | None] = {"s0": None}
    for place in range(1, len(steps)):
        origins[f"s{place}"] = (f"s{place - 1}", steps[place])
    spans = tree.lineage(f"s{len(steps) - 1}", origins.__getitem__)
    owners = [s.segment for s in spans if s.after < step and (s.upto is None or step <= s.upto)]
    # A naive reading of the rule: the last segment that started below the step owns it.
    naive = f"s{max([p for p in range(1, len(steps)) if steps[p] < step], default=0)}"
    assert owners == [naive]


def test_a_straight_line_takes_one_lane() -> None:
    rows = tree.lanes([("c", "b"), ("b", "a"), ("a", None)])
    assert [row.lane for row in rows] == [0, 0, 0]
    assert rows[0].starts and not rows[1].starts
    assert rows[2].ends


def test_a_fork_joins_its_parents_lane() -> None:
    rows = tree.lanes([("d", "b"), ("c", "b"), ("b", "a"), ("a", None)])
    assert [(row.node, row.lane, row.joins) for row in rows] == [
        ("d", 0, ()),
        ("c", 1, ()),
        ("b", 0, (1,)),
        ("a", 0, ()),
    ]
    assert rows[1].through == (0,)


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, str | None]]:
    """Random trees, newest node first."""
    nodes: list[tuple[str, str | None]] = [("n0", None)]
    for place in range(1, draw(st.integers(1, 25))):
        nodes.append((f"n{place}", f"n{draw(st.integers(0, place - 1))}"))
    return nodes[::-1]


@given(trees())
def test_no_lane_is_used_twice_in_one_row_and_every_child_reaches_its_parent(
    nodes: list[tuple[str, str | None]],
) -> None:
    rows = tree.lanes(nodes)
    lane = {row.node: row.lane for row in rows}
    for row in rows:
        assert row.lane not in row.through and not set(row.joins) & set(row.through)
        reached = {row.lane, *row.joins} if not row.starts else set(row.joins)
        assert {lane[child] for child, parent in nodes if parent == row.node} == reached


@dataclass
class NaiveSegment:
    """A segment that holds its whole curve: what its parent had when it started, and its own."""

    curve: dict[int, str]
    origin: tuple[str, int] | None
    own: list[int] = field(default_factory=list)


@st.composite
def forests(draw: st.DrawFn) -> dict[str, NaiveSegment]:
    """Segments that fork from any step of any older one, below its own start too."""
    found: dict[str, NaiveSegment] = {}
    for number in range(draw(st.integers(1, 8))):
        name = f"s{number}"
        origin, start, inherited = None, 0, {}
        if found and draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(found)))
            start = draw(st.integers(0, 25))
            origin = (parent, start)
            inherited = {s: v for s, v in found[parent].curve.items() if s <= start}
        own = list(range(start + 1, start + 1 + draw(st.integers(0, 12))))
        found[name] = NaiveSegment({**inherited, **dict.fromkeys(own, name)}, origin, own)
    return found


def stitched(spans: list[tree.Span], forest: dict[str, NaiveSegment]) -> list[tuple[int, str]]:
    return [
        (step, span.segment)
        for span in spans
        for step in forest[span.segment].own
        if step > span.after and (span.upto is None or step <= span.upto)
    ]


@given(forests())
def test_a_stitched_curve_is_the_copied_one(forest: dict[str, NaiveSegment]) -> None:
    for name in forest:
        spans = tree.lineage(name, lambda other: forest[other].origin)
        assert stitched(spans, forest) == sorted(forest[name].curve.items())


@given(forests())
def test_no_two_spans_of_a_lineage_overlap(forest: dict[str, NaiveSegment]) -> None:
    for name in forest:
        spans = tree.lineage(name, lambda other: forest[other].origin)
        for above, below in zip(spans, spans[1:], strict=False):
            assert above.upto is not None and above.upto <= below.after
        assert spans[-1].segment == name and spans[-1].upto is None


def test_a_circle_of_segments_ends() -> None:
    starts = {"a": ("b", 5), "b": ("a", 3)}
    assert [span.segment for span in tree.lineage("a", starts.__getitem__)] == ["b", "a"]
