"""What an order would cost, in words, and quick orders."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.core.builtin_settings import LR, WEIGHT_DECAY
from branchtrack.db.views.nearby.launch_outlook import Outlook
from branchtrack.web.view import outlook

SO_FAR = Outlook(
    steps=100, seconds=50.0, stored_bytes=10_000_000, max_steps=400, waiting=0, training=0
)


def test_time_and_disk_follow_from_the_branch_so_far() -> None:
    assert outlook.estimate(SO_FAR, 600) == "about 5 min and 60.0 MB on disk"
    assert outlook.estimate(replace(SO_FAR, stored_bytes=0), 600) == "about 5 min"
    assert outlook.estimate(replace(SO_FAR, steps=0), 600) == ""
    assert outlook.estimate(SO_FAR, None) == outlook.estimate(SO_FAR, 0) == ""


def test_the_end_is_that_of_the_settings_or_else_of_the_process() -> None:
    assert outlook.steps_left(SO_FAR, {"max_steps": 300}, 100) == 200
    assert outlook.steps_left(SO_FAR, {}, 100) == 300
    assert outlook.steps_left(SO_FAR, {}, 400) is None
    assert outlook.steps_left(replace(SO_FAR, max_steps=None), {}, 100) is None


def test_quick_orders_are_factors_of_the_first_rate_that_are_allowed() -> None:
    settings = {"weight_decay": WEIGHT_DECAY, "lr": LR, "critic.lr": replace(LR, name="critic.lr")}
    orders = outlook.quick_orders(settings, {"lr": 80.0, "critic.lr": 1.0})
    assert [(order.name, order.factor, order.after) for order in orders] == [
        ("lr", "x0.5", "40"),
        ("lr", "x0.1", "8"),
    ]
    assert outlook.quick_orders({"weight_decay": WEIGHT_DECAY}, {"weight_decay": 0.1}) == []
    assert outlook.quick_orders({"lr": LR}, {}) == []


def test_what_takes_less_than_a_second_is_not_said_to_take_none() -> None:
    assert outlook.estimate(replace(SO_FAR, stored_bytes=0), 1) == "about a second"
