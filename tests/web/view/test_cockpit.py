"""What a training does now, in the words of the cockpit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core.builtin_settings import LR, WEIGHT_DECAY
from branchtrack.db.views.nearby import cockpit as rows
from branchtrack.db.views.nearby.cockpit import BranchNow
from branchtrack.web.view import cockpit
from tests.web.conftest import Site


@pytest.fixture
def main(own: Site) -> BranchNow:
    with own.database.read() as connection:
        return rows.read(connection, "digits", "main")


def process(branch_now: BranchNow, **facts: Any) -> BranchNow:
    assert branch_now.segment is not None
    segment = replace(branch_now.segment, **{"gone": None, **facts})
    return replace(branch_now, segment=segment)


def test_a_training_is_expected_to_end_at_its_rate(main: BranchNow) -> None:
    training = process(
        main, step=40, max_steps=100, rate=2.0, started_at=1000.0, heartbeat_at=1090.0
    )
    gauges = cockpit.gauges(training, {}, 1091.0)
    assert gauges is not None
    assert (gauges.end, gauges.elapsed, gauges.share) == (1120.0, 91.0, 0.4)


def test_one_slower_than_its_heartbeat_has_the_mean_rate(main: BranchNow) -> None:
    slow = process(main, step=40, max_steps=100, rate=0.0, started_at=1000.0, heartbeat_at=1080.0)
    gauges = cockpit.gauges(replace(slow, start_step=20), {}, 1081.0)
    assert gauges is not None and gauges.rate == 0.25 and gauges.end == 1320.0


def test_a_paused_or_ended_one_has_no_end(main: BranchNow) -> None:
    facts = {"step": 40, "max_steps": 100, "rate": 2.0, "started_at": 1000.0}
    for status in ("paused", "finished"):
        held = process(main, **facts, status=status, heartbeat_at=1080.0, ended_at=1090.0)
        gauges = cockpit.gauges(held, {"system/cpu": (40, 50.0)}, 1081.0)
        assert gauges is not None and gauges.end is None
        assert bool(gauges.load) == (status == "paused")
    assert cockpit.gauges(process(main, started_at=None), {}, 1081.0) is None


def test_the_newest_rate_is_shown_logged_or_read_back(main: BranchNow) -> None:
    used = replace(main, used={"lr": 1e-3, "lr_now": 9e-4, "step": 41})
    for logged, expected in ((40, (41, 9e-4)), (50, (50, 8e-4))):
        gauges = cockpit.gauges(used, {"learning_rate": (logged, 8e-4)}, 0.0)
        assert gauges is not None and gauges.lr == expected


def test_rates_alone_have_factors() -> None:
    assert cockpit.factors(LR) == ("x0.5", "x0.1", "x2")
    assert cockpit.factors(replace(LR, name="critic.lr"))
    assert cockpit.factors(WEIGHT_DECAY) == ()
