"""Alerts: one row for what several notice, marked as seen once, in order."""

from __future__ import annotations

from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.db.tables import runs as run_rows
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


def test_alerts_are_chosen_by_level(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        for number, level in enumerate(("info", "warn", "error")):
            add_alert(connection, branch, key=str(number), level=level)
        urgent = alerts.newest(connection, 9, run_id=branch.run_id, levels=("warn", "error"))
        assert [alert.level for alert in urgent] == ["error", "warn"]
        found = alerts.of_segment(connection, branch.segment_id or "", "spike")
        assert found == urgent[0] and alerts.of_segment(connection, "none", "spike") is None


def test_alerts_of_what_is_in_the_trash_are_in_no_list(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        add_alert(connection, branch)
        connection.execute(run_rows.update().values(trashed_at=1.0))
        assert alerts.newest(connection, 9) == [] and alerts.count_unseen(connection) == 0


def test_an_alert_that_was_imported_is_not_delivered_again(database: Database, tree: Tree) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        alert = add_alert(connection, branch)
        assert alerts.undelivered(connection, 0.0, 1e12, ("warn",), 9) == [alert]
        assert alerts.undelivered(connection, 0.0, 1e12, ("error",), 9) == []
        assert alerts.undelivered(connection, alert.created_at, 1e12, ("warn",), 9) == []
        connection.execute(alerts.alerts.update().values(logged_seq=7))
        assert alerts.undelivered(connection, 0.0, 1e12, ("warn",), 9) == []


def test_how_far_a_delivery_is_changes_only_from_what_was_read(
    database: Database, tree: Tree
) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        alert = add_alert(connection, branch)
        assert alerts.change_delivery(connection, alert, {"attempts": 1})
        assert not alerts.change_delivery(connection, alert, {"attempts": 2})
        again = alerts.get(connection, alert.id)
        assert alerts.change_delivery(connection, again, {"attempts": 2}, delivered_at=5.0)
        assert alerts.get(connection, alert.id).delivered_at == 5.0
        assert integrity.of_run(connection, branch.run_id) == []


def test_all_alerts_of_a_run_are_marked_as_seen_by_whom_it_was(
    database: Database, tree: Tree
) -> None:
    with database.transaction() as connection:
        branch = runs.find_branch(connection, "demo")
        rows = [add_alert(connection, branch, key=str(number)) for number in range(3)]
        alerts.mark_seen(connection, rows[0].id, "ann")
        assert alerts.mark_all_seen(connection, branch.run_id, "ben") == 2
        assert alerts.mark_all_seen(connection, branch.run_id, "cleo") == 0
        seen = [alert.seen_by for alert in alerts.after(connection, 0, 9)]
        assert seen == ["ann", "ben", "ben"] and alerts.count_unseen(connection) == 0
        assert integrity.of_run(connection, branch.run_id) == []
