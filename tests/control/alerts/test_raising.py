"""Alerts are raised once, with what they are about and what would mend it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

from branchtrack.config import Config
from branchtrack.control.alerts import raising
from branchtrack.core.agents.records import Alert
from branchtrack.core.health.detectors import Finding
from branchtrack.db import audit, integrity
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.db.watching import alerts
from tests.control.alerts.conftest import Forked

NAN = Finding("nan", "loss", 26, math.nan, after=25)


def test_an_alert_says_what_is_wrong_since_when_and_which_fork_mends_it(
    database: Database, forked: Forked
) -> None:
    tree, nodes = forked
    with database.transaction() as connection:
        alert = raising.raise_finding(connection, tree.segment("main").id, NAN, "run")
        again = raising.raise_finding(connection, tree.segment("main").id, NAN, "run")
        events = audit.page(connection, tree.run.id, 10, kind="alert")
        assert integrity.of_run(connection, tree.run.id) == []
    twenty = nodes[2]
    assert alert == again and len(events) == 1
    assert alert.text == (
        f"loss is NaN since step 26: fork from node {twenty.id[:8]} (step 20) with lr x0.5"
    )
    assert (alert.level, alert.step, alert.node_id, alert.value) == ("error", 26, twenty.id, None)


def test_a_crash_after_nan_offers_what_would_have_mended_the_nan(
    database: Database, forked: Forked
) -> None:
    tree, _nodes = forked
    with database.transaction() as connection:
        segment = tree.segment("main")
        nan = raising.raise_finding(connection, segment.id, NAN, "run")
        error = "ValueError: NaN\nTraceback"
        crash = raising.raise_crash(connection, segment, "failed", error, "run")
    assert crash.offer == nan.offer and crash.level == "error"
    assert crash.text.startswith("training failed at step 30: ValueError: NaN: fork from node")


def test_a_script_says_the_same_thing_once_at_a_step(database: Database, forked: Forked) -> None:
    tree, _nodes = forked

    def say(text: str, step: int, level: str = "warn") -> Alert:
        with database.transaction() as connection:
            return raising.raise_script(
                connection,
                tree.segment("main").id,
                text,
                level=level,
                step=step,
                metric=None,
                value=math.inf,
                actor="run",
            )

    first = say("low on data", 5)
    assert first == say("low on data", 5) and first.offer is None and first.value is None
    assert len({first.id, say("low on data", 6).id, say("no more data", 5).id}) == 3
    assert say("low on data", 5, "error").level == "error"


def test_processes_that_notice_the_same_thing_at_once_write_one_row(
    config: Config, database: Database, forked: Forked
) -> None:
    tree, _nodes = forked
    segment = tree.segment("main").id

    def notice(_number: int) -> str:
        own = open_database(config)
        try:
            with own.transaction() as connection:
                return raising.raise_finding(connection, segment, NAN, "run").id
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(notice, range(8)))
    with database.read() as connection:
        assert [alert.id for alert in alerts.after(connection, 0, 10)] == list(ids)


def test_a_sentence_and_the_offer_after_it_share_no_punctuation(
    database: Database, forked: Forked
) -> None:
    tree, _nodes = forked
    with database.transaction() as connection:
        segment = tree.segment("main")
        crash = raising.raise_crash(connection, segment, "failed", "Killed by SIGKILL.", "run")
    assert crash.text.startswith("training failed at step 30: Killed by SIGKILL: fork from node")
