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


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [7.0], [np.nan, 7.0, 9.0]])
def test_steps_without_a_value_of_a_counter_have_no_place(values: list[float]) -> None:
    steps = np.arange(10, 10 + len(values))
    to_x = axes.counted(Buckets.of_points(steps, np.array(values), np.zeros(len(values))))
    requested = np.array([5, 10, 11, 12, 20])
    known = dict(zip(steps.tolist(), values, strict=True))
    wanted = [known.get(step, np.nan) for step in requested.tolist()]
    np.testing.assert_array_equal(to_x(requested), wanted)


def test_a_counter_in_buckets_begins_at_the_first_of_its_points() -> None:
    curve = Buckets.grouped(np.arange(1, 9), 512.0 * np.arange(1, 9), np.zeros(8), 4)
    assert axes.counted(curve)(np.array([1, 4, 6, 8])).tolist() == [512.0, 2048.0, 3072.0, 4096.0]


def test_a_step_is_where_the_first_axis_that_covers_it_has_it() -> None:
    here, there = (
        axes.counted(Buckets.of_points(np.array([step]), np.array([x]), np.zeros(1)))
        for step, x in ((3, 30.0), (5, 50.0))
    )
    assert axes.position([here, there], 5) == 50.0
    assert axes.position([here, there], 4) is None and axes.position([here], None) is None


def test_the_first_counters_and_the_chosen_one_are_offered() -> None:
    names = ["loss", "num_tokens", "train/samples", "train_samples_per_second", "flos"]
    names += ["eval_tokens"]
    assert axes.counters(names) == ["num_tokens", "train/samples", "flos", "eval_tokens"]
    assert [name for name, _words in axes.choices(names, "step")][4:] == names[1:3] + ["flos"]
    assert axes.choices(names, "loss")[-1] == ("loss", "loss")
    assert axes.counter("epoch") is None and axes.counter("loss") == "loss"
