"""A branching Trainer has all that is used of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.training.trainer.protocol import BranchingTrainer, TrainerObjects
from tests.training import tiny


def used_names() -> set[str]:
    """What the protocols declare."""
    kinds = (TrainerObjects, BranchingTrainer)
    methods = {name for kind in kinds for name in vars(kind) if not name.startswith(("__", "_abc"))}
    annotated = {name for kind in kinds for name in kind.__annotations__}
    return {name for name in methods | annotated if not name.startswith(("_is_", "_abc"))}


#: What a Trainer has only during its training.
DURING_TRAINING = {"_tr_loss", "_total_loss_scalar", "_globalstep_last_logged"}


@pytest.mark.parametrize("kind", [tiny.BranchingTrainer])
def test_a_trainer_has_all_that_is_used(kind: type, tmp_path: Path) -> None:
    trainer = tiny.trainer(kind, tmp_path)
    missing = {name for name in used_names() if not hasattr(trainer, name)}
    assert missing <= DURING_TRAINING and len(used_names()) > 40
