"""How far a Trainer's script would train, and its end there unless that was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback


@dataclass(frozen=True)
class Bounds:
    """The limits that a script's own loop would have: its epochs, the updates of each, and the last
    update, with ``accumulation`` batches for each.
    """

    epochs: int
    per_epoch: int
    max_steps: int
    accumulation: int


class Ends(TrainerCallback):
    """Ends training with the script's last epoch, even if its last update was not reached.

    Otherwise a loader that yields less than its length would continue to that update. It runs after
    all other callbacks, which must not see an end that the Trainer's own loop does not signal.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        bounds: Bounds | None = self.trainer._bt_bounds
        if bounds is None or self.trainer._bt_position is None:
            return
        now = (state.max_steps, args.gradient_accumulation_steps)
        unchanged = now == (bounds.max_steps, bounds.accumulation)
        if unchanged and self.trainer._bt_position.epoch + 1 >= bounds.epochs:
            control.should_training_stop = True
