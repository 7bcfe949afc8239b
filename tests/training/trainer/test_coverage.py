"""What of a Trainer's loop no test covers is named; the stock loop needs no remark."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import Trainer

from branchtrack.training.trainer import coverage


class Own(Trainer):
    """A Trainer with an update of its own."""

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        """As the stock one."""
        return super().training_step(*arguments, **options)


def trainer(kind: type[Trainer], tracked: Any) -> Any:
    bare = object.__new__(kind)
    bare._bt_position = SimpleNamespace(tracked=tracked)
    return bare


@pytest.mark.parametrize("loader", ["map", "iterable"])
def test_a_stock_loop_over_a_loader_of_torch_is_covered(loader: str) -> None:
    assert coverage.of_trainer(trainer(Trainer, SimpleNamespace(kind=loader))) == []


def test_a_method_of_the_loop_that_is_not_the_stock_one_is_named() -> None:
    lines = coverage.of_trainer(trainer(Own, SimpleNamespace(kind="map")))
    assert lines == ["Own has training_step of its own"]


def test_a_loader_that_cannot_be_continued_is_named() -> None:
    (unknown,) = coverage.of_trainer(trainer(Trainer, None))
    (restarted,) = coverage.of_trainer(trainer(Trainer, SimpleNamespace(kind="other")))
    assert "not torch's" in unknown and "from its start" in restarted
    without = trainer(Trainer, None)
    without._bt_position = None
    assert coverage.of_trainer(without) == [unknown]
