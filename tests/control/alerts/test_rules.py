"""What a run is watched for changes as a whole or not at all, by whom it is allowed to."""

from __future__ import annotations

import pytest

from branchtrack.control.alerts import rules
from branchtrack.core.actors import Actor
from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden, InvalidInput
from tests.control.alerts.conftest import Forked
from tests.db.watching.rows import add_alert


def test_rules_are_changed_with_an_event_and_kept(database: Database, forked: Forked) -> None:
    run, chosen = rules.change_rules(
        database, "demo", {"targets": ["eval_loss < 2.5"], "spike": None}, actor="ann", reason="why"
    )
    assert run.watch == {"targets": ["eval_loss<2.5"], "spike": None} == chosen.as_json()
    _run, chosen = rules.change_rules(database, "demo", {"stall": 60.0}, actor="ann")
    assert chosen.stall == 60 and chosen.spike is None
    run, _chosen = rules.change_rules(database, "demo", {}, actor="ann", reset=True)
    assert run.watch is None
    with database.read() as connection:
        events = audit.page(connection, run.id, 3, kind="run")
        assert [event.state for event in events] == ["watched"] * 3
        assert integrity.of_run(connection, run.id) == []


def test_a_rule_that_is_not_valid_changes_nothing(database: Database, forked: Forked) -> None:
    with pytest.raises(InvalidInput):
        rules.change_rules(database, "demo", {"spike": 5.0, "stall": -1}, actor="ann")
    with database.read() as connection:
        assert runs.find_run(connection, "demo").watch is None


@pytest.mark.parametrize("role", ["viewer", "agent"])
def test_who_may_not_label_changes_no_rules_and_marks_nothing(
    database: Database, forked: Forked, role: str
) -> None:
    who = Actor("bot", role)
    with database.transaction() as connection:
        alert = add_alert(connection, forked[0].branches["main"])
    with pytest.raises(Forbidden):
        rules.change_rules(database, "demo", {"spike": None}, actor=who, reason="why")
    with pytest.raises(Forbidden):
        rules.mark_seen(database, alert.id, actor=who)


def test_an_alert_is_marked_by_the_beginning_of_its_id(database: Database, forked: Forked) -> None:
    with database.transaction() as connection:
        alert = add_alert(connection, forked[0].branches["main"])
    assert rules.mark_seen(database, alert.id[:6], actor="ann").seen_by == "ann"
