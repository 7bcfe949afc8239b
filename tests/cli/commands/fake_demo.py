"""What stands in for the example that `demo` trains, without torch. It takes the same options.

The first process waits at half its way until its learning rate has been changed, so a demonstration
never comes too late on a loaded machine.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from branchtrack.db import metrics, segments
from tests.launching.fake_training import FakeTraining


class FakeExample(FakeTraining):
    """A training that commits every few steps and logs a loss and an evaluation's loss."""

    def _begin(self) -> Any:
        self.settings["lr"] = self.options.lr
        return super()._begin()

    def _log(self) -> None:
        now, loss = time.time(), 1.0 + 1.0 / (1 + self.step * self.settings["lr"])
        points = [(name, self.step, loss, now) for name in ("loss", "eval_loss")]
        with self.database.transaction() as connection:
            metrics.append(connection, self.segment.id, points)
            segments.heartbeat(connection, self.segment.id, self.step, 1.0, self.settings)

    def _control_point(self) -> None:
        if self.step % self.options.every == 0:
            self._commit("checkpoint", ())
        super()._control_point()
        while self.step == self.options.steps // 2 and self.settings["lr"] == self.options.lr:
            time.sleep(0.02)
            super()._control_point()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--every", type=int)
    parser.add_argument("--output")
    parser.set_defaults(seconds=0.0, crash_at=math.inf, leave_open=False, on_sigterm=False)
    training = FakeExample(parser.parse_args())
    try:
        training.run()
    finally:
        training.database.close()


if __name__ == "__main__":
    main()
