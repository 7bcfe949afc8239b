"""What a place in the queue depends on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core import queueing
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize("priority", [None, 0, -1000, 1000])
def test_a_priority_is_a_whole_number_within_its_limits(priority: int | None) -> None:
    assert queueing.valid_priority(priority) == priority


@pytest.mark.parametrize("priority", [1001, -1001, 1.0, math.nan, True, "3", [1]])
def test_any_other_priority_is_refused_with_the_limits(priority: object) -> None:
    with pytest.raises(InvalidInput, match="from -1000 to 1000"):
        queueing.valid_priority(priority)


def test_labels_are_names_each_once() -> None:
    assert queueing.valid_labels(["gpu", "big", "gpu"]) == ["big", "gpu"]
    assert queueing.valid_labels(None) == []
    assert queueing.parse_labels(" gpu, big ,,") == ["big", "gpu"]


@pytest.mark.parametrize("labels", [["a b"], [""], [3], "gpu"])
def test_what_is_no_list_of_names_is_refused(labels: Any) -> None:
    with pytest.raises(InvalidInput):
        queueing.valid_labels(labels)


def test_labels_choose_a_worker_and_so_are_refused_with_a_cluster() -> None:
    assert queueing.valid_turn(1, [], 2, launcher={"kind": "slurm"})["labels"] is None
    with pytest.raises(InvalidInput, match="no worker starts its launches") as caught:
        queueing.valid_turn(None, ["gpu"], 0, launcher={"kind": "slurm"})
    assert caught.value.field == "labels"


def test_a_worker_needs_every_label_of_a_launch() -> None:
    assert queueing.can_take(["gpu", "big"], ["gpu"])
    assert queueing.can_take([], None)
    assert not queueing.can_take(["gpu"], ["gpu", "big"])


def test_the_end_is_expected_by_the_rate() -> None:
    assert queueing.expected_end(20, 100, 4.0, 1000.0) == 1020.0
    assert queueing.expected_end(200, 100, 4.0, 1000.0) == 1000.0
    for unknown in ((20, None, 4.0, 1.0), (20, 100, None, 1.0), (20, 100, 0.0, 1.0)):
        assert queueing.expected_end(*unknown) is None
    assert queueing.expected_end(20, 100, 4.0, None) is None
