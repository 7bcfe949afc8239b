"""Which blocks' points are needed, and what the database reads of the others."""

from __future__ import annotations

from sqlalchemy import text

from branchtrack.db.engine import Database
from branchtrack.db.views import course_blocks
from branchtrack.db.views.course_blocks import Range


def test_the_points_of_a_block_are_needed_where_it_may_be_cut() -> None:
    which = Range(window=(100, 200), highs={"a": 150}, cuts={"a": [120], "b": [130]})
    blocks = ((0, 99), (0, 100), (100, 119), (110, 125), (140, 160), (190, 200), (190, 201))
    needed = [block for block in blocks if which.is_needed("a", *block)]
    assert needed == [(0, 100), (110, 125), (140, 160), (190, 201)]
    assert [which.high(segment) for segment in ("a", "b")] == [150, 200]
    assert Range(fine=(5, 9)).is_needed("a", 9, 20) and not Range(fine=(5, 9)).is_needed(
        "a", 10, 20
    )
    assert list(which.pairs()) == [("a", 120), ("a", 150), ("b", 130)]


def test_blocks_are_looked_up_by_their_keys(sqlite_database: Database) -> None:
    which = Range((100, 200), lead_in=2, highs={"a": 150}, cuts={"a": [120]}, fine=(130, 140))
    for statement, values in (
        course_blocks.series(["a", "b"], ["loss"], which),
        course_blocks.blocks({1: "a", 2: "b"}, {1}, which),
    ):
        with sqlite_database.read() as connection:
            compiled = statement.params(**values).compile(
                connection.engine, compile_kwargs={"literal_binds": True}
            )
            plan = connection.execute(text("EXPLAIN QUERY PLAN " + str(compiled))).all()
        steps = [row[3] for row in plan if "metric_" in row[3]]
        assert steps and all(step.startswith("SEARCH") for step in steps), steps
