"""What a step is on each horizontal axis."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.metrics import Series
from branchtrack.web.charts import axes


def test_epochs_go_on_beyond_the_last_node() -> None:
    to_x = axes.along({0: 0.0, 100: 1.0, 200: 3.0})
    assert to_x(np.array([0, 50, 150, 300])).tolist() == [0.0, 0.5, 2.0, 4.5]
    assert axes.along({7: 2.0})(np.array([1, 9])).tolist() == [2.0, 2.0]
    assert axes.along({})(np.array([1])).tolist() == [0.0]


def test_hours_leave_out_the_wait_before_a_resume() -> None:
    times = np.concatenate([np.arange(100) * 36.0, 1e6 + np.arange(100) * 36.0])
    found = Series(np.arange(200), np.ones(200), times)
    assert axes.hours(found)(np.array([199]))[0] == pytest.approx(199 * 36 / 3600)
    assert axes.hours(Series.empty())(np.array([3])).tolist() == [0.0]


def test_a_counter_is_read_between_its_points_and_where_it_is_no_number_not_at_all() -> None:
    values = np.array([0.0, 100.0, np.nan, 300.0])
    to_x = axes.counted(Buckets.of_points(np.arange(0, 40, 10), values, np.zeros(4)))
    assert to_x(np.array([0, 5, 20, 30])).tolist() == [0.0, 50.0, 200.0, 300.0]
    assert axes.counted(Buckets.empty())(np.array([3])).tolist() == [0.0]


def test_the_first_counters_and_the_chosen_one_are_offered() -> None:
    names = ["loss", "num_tokens", "train/samples", "train_samples_per_second", "flos"]
    names += ["eval_tokens"]
    assert axes.counters(names) == ["num_tokens", "train/samples", "flos", "eval_tokens"]
    assert [name for name, _words in axes.choices(names, "step")][4:] == names[1:3] + ["flos"]
    assert axes.choices(names, "loss")[-1] == ("loss", "loss")
    assert axes.counter("epoch") is None and axes.counter("loss") == "loss"
