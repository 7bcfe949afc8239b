"""Alerts: one row for what several notice, marked as seen once, in order."""

from __future__ import annotations

from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.db.watching import alerts
from tests.db.watching.rows import add_alert
from tests.trees_for_tests import Tree


def test_what_two_processes_notice_is_one_alert_with_one_event(
    database: Database, tree: Tree
) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        first = add_alert(connection, branch)
        second = add_alert(connection, branch, text="noticed again")
        assert first == second
        events = audit.page(connection, branch.run_id, 10, kind="alert")
        assert [(event.ref, event.state, event.step) for event in events] == [
            (first.id, "warn", 20)
        ]
        assert integrity.of_run(connection, branch.run_id) == []


def test_alerts_are_read_on_from_a_cursor_or_back_from_the_newest(
    database: Database, tree: Tree
) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        made = [add_alert(connection, branch, key=str(number)) for number in range(3)]
        ids = [alert.id for alert in made]
        later = alerts.after(connection, made[0].seq, 10, run_id=branch.run_id)
        assert [alert.id for alert in later] == ids[1:]
        assert [alert.id for alert in alerts.newest(connection, 2)] == ids[:0:-1]
        assert [alert.id for alert in alerts.newest(connection, 2, made[1].seq)] == ids[:1]
        assert alerts.after(connection, 0, 10, branch_id="none") == []


def test_the_first_who_sees_an_alert_is_recorded(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        alert = add_alert(connection, branch)
        assert alerts.count_unseen(connection, branch.run_id) == 1
        seen = alerts.mark_seen(connection, alert.id, "ann")
        assert alerts.mark_seen(connection, alert.id, "ben") == seen and seen.seen_by == "ann"
        assert alerts.count_unseen(connection) == 0
        assert alerts.find(connection, alert.id[:6]) == seen
        assert integrity.of_run(connection, branch.run_id) == []
