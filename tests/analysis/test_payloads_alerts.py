"""Pages of alerts as JSON."""

from __future__ import annotations

import pytest

from branchtrack.analysis import payloads_alerts
from branchtrack.checkpoints.packs import Store
from branchtrack.core.health import rules
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import alerts
from branchtrack.errors import InvalidInput, NotFound
from tests.db.watching.rows import add_alert
from tests.trees_for_tests import make_tree


def test_a_page_is_read_on_from_its_cursor(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    tree.branch("other")
    with database.transaction() as connection:
        for number in range(5):
            branch = tree.branches["other" if number % 2 else "main"]
            add_alert(connection, branch, key=str(number), level="info" if number < 2 else "error")
        whole = {"since": None, "level": "info", "limit": None}
        page = payloads_alerts.page(connection, None, **whole)
        assert [each["branch"] for each in page["alerts"]] == ["main", "other"] * 2 + ["main"]
        newest = payloads_alerts.page(connection, "demo", since=None, level="info", limit=2)
        assert newest["more"] and newest["cursor"] == page["cursor"]
        first = payloads_alerts.page(connection, "demo/main", since=0, level="error", limit=1)
        assert first["more"]
        rest = payloads_alerts.page(
            connection, "demo/main", since=first["cursor"], level="error", limit=9
        )
        assert len(rest["alerts"]) == 1 and not rest["more"]


def test_what_is_not_there_is_named(database: Database, store: Store) -> None:
    with database.read() as connection:
        with pytest.raises(NotFound):
            payloads_alerts.page(connection, "nobody", since=None, level="info", limit=1)
        with pytest.raises(InvalidInput):
            payloads_alerts.page(connection, None, since=None, level="loud", limit=1)


def test_an_alert_of_a_branch_that_was_removed_stays(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        branch = tree.branches["main"]
        alert = add_alert(connection, branch)
        connection.execute(
            alerts.alerts.update().where(alerts.alerts.c.id == alert.id).values(branch_id="gone")
        )
        page = payloads_alerts.page(connection, "demo", since=None, level="info", limit=9)
    assert [each["branch"] for each in page["alerts"]] == [""]


def test_the_rules_of_a_run_say_what_was_changed(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.read() as connection:
        run = runs.find_run(connection, "demo")
    shown = payloads_alerts.rules_of(run, rules.from_json({"stall": 60.0}))
    assert shown["run"] == "demo" and shown["changed"] == ["stall"]
