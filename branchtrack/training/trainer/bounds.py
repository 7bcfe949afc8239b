"""How far a Trainer's script would train, and its end there if nobody has changed that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback


@dataclass(frozen=True)
class Bounds:
    """What the loop of a script would keep to: its epochs, the updates of each, and the last update
    with batches of ``accumulation`` for each.
    """

    epochs: int
    per_epoch: int
    max_steps: int
    accumulation: int


class Ends(TrainerCallback):
    """Ends training with the script's last epoch, though its last update was not reached.

    A loader that gives less than its length would have it go on to that update otherwise. Behind
    all other callbacks, which are not to see an end that the Trainer's own loop does not tell.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        bounds: Bounds | None = self.trainer._bt_bounds
        if bounds is None or self.trainer._bt_place is None:
            return
        now = (state.max_steps, args.gradient_accumulation_steps)
        unchanged = now == (bounds.max_steps, bounds.accumulation)
        if unchanged and self.trainer._bt_place.epoch + 1 >= bounds.epochs:
            control.should_training_stop = True
