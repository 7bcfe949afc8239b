"""Decay and clipping are written where the update reads them, groups keep what tells them apart."""

from __future__ import annotations

import pytest

from branchtrack.training.settings import apply, param_groups
from tests.training.settings.two_groups import two_groups


def test_weight_decay_leaves_the_undecayed_group_alone() -> None:
    live = two_groups()
    param_groups.write_weight_decay(live, 0.2)
    assert [group["weight_decay"] for group in live.groups] == [0.2, 0.0]
    param_groups.write_weight_decay(live, 0.0)
    param_groups.write_weight_decay(live, 0.3)
    assert [group["weight_decay"] for group in live.groups] == [0.3, 0.0]
    assert param_groups.read_weight_decay(live) == 0.3


def test_weight_decay_keeps_the_ratio_between_decayed_groups() -> None:
    live = two_groups()
    live.decayed = [True, True]
    live.groups[1]["weight_decay"] = 0.1
    param_groups.write_weight_decay(live, 1.0)
    assert [group["weight_decay"] for group in live.groups] == [1.0, pytest.approx(0.2)]


def test_max_grad_norm_is_written_where_the_loop_reads_it() -> None:
    live = two_groups()
    assert apply.write_all(live, {"max_grad_norm": 0.25}) == {"max_grad_norm": 0.25}
    assert live.options.max_grad_norm == 0.25
    live.options.max_grad_norm = None
    assert param_groups.read_max_grad_norm(live) == 0.0


def test_eps_is_set_in_every_group_that_has_it() -> None:
    live = two_groups()
    del live.groups[0]["eps"]
    param_groups.write_eps(live, 1e-3)
    assert "eps" not in live.groups[0] and live.groups[1]["eps"] == 1e-3
    assert param_groups.read_eps(live) == 1e-3
