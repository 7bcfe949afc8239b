"""Runs are filtered, sorted, grouped and cut into pages."""

from __future__ import annotations

import math

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.queries.columns import parse_columns
from branchtrack.db.browsing.run_search import sorted_places
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.db.browsing.tables_of_runs import add_run, matches, names


@pytest.fixture
def home(database: Database, store: Store) -> Database:
    """Three runs that have ended, and one that trains."""
    add_run(database, store, "slow", settings={"lr": 1e-4}, eval_loss=[3.0, 2.0])
    add_run(database, store, "fast", settings={"lr": 1e-2}, eval_loss=[2.5, math.nan], loss=[1.0])
    add_run(database, store, "text", ended="failed", settings={"lr": "auto", "optimizer": "sgd"})
    add_run(database, store, "live", ended=None, settings={"lr": 1e-3}, eval_loss=[1.5])
    control.label(database, "slow", actor="ann", add=["good", "old"], notes="The Baseline")
    return database


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["slow", "live", "text", "fast"]),
        ("lr<1e-2", ["slow", "live"]),
        ("lr=auto", ["text"]),
        ("not lr<1e-2", ["fast"]),
        ("best(eval_loss)<=2", ["slow", "live"]),
        ("last(eval_loss)>0", ["slow", "live"]),
        ("eval_loss!=2", ["live", "fast"]),
        ("min(missing)<1", []),
        ("status:training", ["live"]),
        ("failed:yes or tag:good", ["slow", "text"]),
        ("tag:go*", ["slow"]),
        ("baseline", ["slow"]),
        ("OLD or name:fas", ["slow", "fast"]),
        ("branch:main run:l*", ["live"]),
        ("since:1h step:0..0 not branch:x", ["slow", "live", "text", "fast"]),
        ("archived:yes", []),
    ],
)
def test_runs_are_filtered_the_latest_changed_first(
    home: Database, query: str, expected: list[str]
) -> None:
    assert names(home, query) == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("best(eval_loss)", ["live", "slow", "fast", "text"]),
        ("-best(eval_loss)", ["fast", "slow", "live", "text"]),
        ("last(eval_loss)", ["live", "slow", "text", "fast"]),
        ("lr", ["slow", "live", "fast", "text"]),
        ("-lr", ["fast", "live", "slow", "text"]),
        ("name", ["fast", "live", "slow", "text"]),
        ("status", ["live", "text", "slow", "fast"]),
        ("-created", ["live", "text", "fast", "slow"]),
        ("updated", ["fast", "text", "live", "slow"]),
        ("tags", ["slow", "live", "text", "fast"]),
        ("-branches", ["slow", "live", "text", "fast"]),
    ],
)
def test_runs_are_sorted_with_what_has_no_value_at_the_end(
    home: Database, sort: str, expected: list[str]
) -> None:
    assert names(home, sort=sort) == expected


def test_pinned_runs_stand_on_top(home: Database) -> None:
    control.label(home, "fast", actor="ann", pinned=True)
    assert names(home, sort="best(eval_loss)") == ["fast", "live", "slow", "text"]
    assert names(home, "lr<1e-2", sort="lr") == ["slow", "live"]


def test_pages_say_how_many_there_are(home: Database) -> None:
    page = matches(home, sort="name", limit=2, offset=1)
    assert [match.run.name for match in page.runs] == ["live", "slow"] and page.total == 4
    assert names(home, sort="name", limit=2, offset=9) == []


def test_columns_have_values(home: Database) -> None:
    columns = "lr,best(eval_loss),last(eval_loss),max(loss),status"
    (fast,) = matches(home, "run:fast", columns=columns).runs
    values = [fast.values[column] for column in parse_columns(columns)]
    assert values[:2] == [1e-2, 2.5] and math.isnan(values[2]) and values[3:] == [1.0, None]


def test_groups_are_counted_and_come_one_after_the_other(home: Database) -> None:
    by_status = matches(home, sort="name", by="status")
    assert [match.run.name for match in by_status.runs] == ["live", "text", "fast", "slow"]
    assert by_status.groups == {"failed": 1, "finished": 2, "running": 1}
    by_tag = matches(home, sort="name", by="tag", limit=2)
    assert [match.group for match in by_tag.runs] == ["good", None]
    assert by_tag.groups == {"good": 1, None: 3}
    by_setting = matches(home, sort="name", by="lr")
    assert [match.group for match in by_setting.runs] == [1e-4, 1e-3, 1e-2, "auto"]


def test_what_is_archived_is_listed_on_request_and_by_a_search(home: Database) -> None:
    control.label(home, "text", actor="ann", archived=True)
    assert names(home, "status:failed") == [] and matches(home).hidden == 1
    for query in ("archived:yes", "text", "status:failed (archived:yes or archived:no)"):
        assert names(home, query) == ["text"], query
    assert names(home, "archived:no failed:yes") == []


def test_the_trash_is_not_listed(home: Database) -> None:
    control.delete(home, "text", actor="ann")
    assert names(home, sort="name") == ["fast", "live", "slow"]
    control.restore(home, "text", actor="ann")
    assert names(home, sort="name")[-1] == "text"


def test_what_cannot_be_read_names_its_field(home: Database) -> None:
    for field, arguments in (
        ("query", {"query": "lr<"}),
        ("sort", {"sort": "lr lr"}),
        ("by", {"by": "updated"}),
        ("columns", {"columns": "mean(x)"}),
    ):
        with pytest.raises(InvalidInput) as error:
            matches(home, **arguments)
        assert error.value.field == field


def test_what_is_equal_stays_in_its_order() -> None:
    values = [2.0, "b", None, 1, "a", math.nan, True, 2.0, [1]]
    assert sorted_places(values, False) == [3, 6, 0, 7, 4, 1, 2, 5, 8]
    assert sorted_places(values, True) == [0, 7, 3, 6, 1, 4, 2, 5, 8]


@pytest.mark.parametrize(
    ("query", "hints"),
    [
        ("nosuchthing<3", ["No run has a setting or metric named nosuchthing."]),
        ("max(los)<1 setting.loss<1", ["los", "loss"]),
        ("lr>5", []),
        ("step>5 nothing", []),
        ("loss>5", []),
        ("lr>0 or nosuchthing<3", []),
    ],
)
def test_names_that_no_run_has_are_said_where_nothing_matches(
    home: Database, query: str, hints: list[str]
) -> None:
    said = matches(home, query).hints
    assert len(said) == len(hints)
    assert all(f"{hint}." in f"{text}." for hint, text in zip(hints, said, strict=True))
