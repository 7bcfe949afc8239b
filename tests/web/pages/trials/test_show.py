"""One trial: its verdicts, the picture and the table of its pairs, and what is done with it."""

from __future__ import annotations

import pytest

from branchtrack.core.trials.records import CANCELLED, RUNNING, SAME, Arm
from branchtrack.db import runs
from branchtrack.db.orders import trials
from branchtrack.web.access import guards  # noqa: F401
from tests.web import dom
from tests.web.conftest import Site
from tests.web.tried import NAN, TRAINS, make_trial

HELPFUL = [(2.0, 1.99), (2.1, 2.088), (1.9, 1.891), (2.05, 2.04)]


def ordered(own: Site, pairs=HELPFUL, **facts):
    main = own.lines["main"]
    assert main.head is not None
    return make_trial(main.grower, main.head, pairs, **facts)


def page_of(own: Site, trial) -> dom.Element:
    return own.get(f"/runs/digits/trials/{trial.id}")


def test_a_change_that_helps_is_said_with_effect_interval_margin_and_pairs(own: Site) -> None:
    page = page_of(own, ordered(own))
    assert page.one("h1").text == "lr=x0.9"
    print(page.one("main").text)
    print(page.table("Pairs of lr=x0.9"))
