"""What branchtrack costs a training: wall time on against off, and an idle control point.

    python -m tests.benchmarks.bench_overhead [--rounds 7] [--steps 15] [--updates 1200]
                                              [--json FILE]

A round trains the same small GPT-2 three times in one process: off, on, off, or on in another
order. Updates are timed one by one from the first after the warm-up, which the commit of the root
belongs to, to the last before the end, which the final commit belongs to; in between nothing is
committed and every update is logged. The two trainings without branchtrack, compared with each
other, tell what the machine's own noise is: on a small machine it is more than what is sought.

Hence a second measurement, within one training: the recorder works and rests in turn, for a few
updates each, so that whatever else slows the machine down slows down both. All that branchtrack
does between two commits is the recorder's work, but for the control point, which is timed alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from branchtrack import make_branching
from branchtrack.environment_variables import HOME_VARIABLE

WARM_UP = 5
BUDGET = 0.02
_CALLS = 20_000
_BLOCK = 4
_ORDERS = (("off", "on", "again"), ("on", "off", "again"), ("off", "again", "on"))
BranchingTrainer = make_branching(Trainer)


@dataclass
class Sample:
    """Seconds of wall time, of this process's CPU time, and of that of the recorder's threads."""

    wall: float
    cpu: float
    recorder: float


@dataclass
class Result:
    """Medians of the rounds; ``wall`` and ``cpu`` are on / off - 1, the noises off / off - 1.

    ``recorder`` is the CPU time of its threads as a share of the wall time. ``within`` is the mean
    of recorder working / resting - 1 within one training, with its standard error.
    """

    rounds: int
    steps: int
    off_ms: float
    on_ms: float
    wall: float
    cpu: float
    noise: float
    noise_cpu: float
    recorder: float
    walls: list[float]
    cpus: list[float]
    within: float
    within_error: float
    idle_us: float
    machine: str


class Window(TrainerCallback):
    """Times the updates after the warm-up; added behind all other callbacks."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.trainer: Any = None
        self.started = self.ended = Sample(0.0, 0.0, 0.0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == WARM_UP:
            session = getattr(self.trainer, "_session", None)
            if session is not None:
                session.recorder.jobs.wait_for(session.committer.free)
            self.started = now(self.trainer)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.last:
            self.ended = now(self.trainer)

    def sample(self) -> Sample:
        """What was measured, per update."""
        updates = self.last - WARM_UP
        pairs = zip(astuple(self.started), astuple(self.ended), strict=True)
        return Sample(*((ended - started) / updates for started, ended in pairs))


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random tokens."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.randint(0, 256, (64,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": tokens, "labels": tokens}


def now(trainer: Any) -> Sample:
    """All clocks."""
    session = getattr(trainer, "_session", None)
    threads = [session.recorder.jobs.thread, session.recorder._pulse] if session else []
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in threads]
    spent = sum(time.clock_gettime(clock) for clock in clocks)
    return Sample(time.perf_counter(), time.process_time(), spent)


def make_trainer(kind: type[Any], folder: str, steps: int, **given: Any) -> Any:
    """A trainer whose updates take some 50 to 100 ms on one slow core."""
    torch.manual_seed(0)
    shape = {"vocab_size": 256, "n_positions": 64, "n_embd": 160, "n_layer": 3, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0))
    options = TrainingArguments(
        output_dir=folder,
        run_name="bench",
        max_steps=steps,
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    return kind(model, options, train_dataset=Tokens(), **given)


def train(kind: type[Any], folder: Path, steps: int) -> Sample:
    """Train once and measure."""
    window = Window(WARM_UP + steps)
    trainer = make_trainer(kind, str(folder), WARM_UP + steps + 1)
    window.trainer = trainer
    trainer.add_callback(window)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return window.sample()


class Idle(TrainerCallback):
    """Times what branchtrack does at an update where nobody asks anything."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        events, given = self.trainer._bt_events, (args, state, control)
        if state.global_step != 2:
            return
        started = time.perf_counter()
        for _ in range(_CALLS):
            events.on_step_begin(*given)
            events.on_pre_optimizer_step(*given)
            events.on_optimizer_step(*given)
            events.on_step_end(*given)
        self.seconds = (time.perf_counter() - started) / _CALLS


def idle_seconds(folder: Path) -> float:
    """Seconds an update that a control point without requests takes."""
    idle = Idle()
    trainer = make_trainer(BranchingTrainer, str(folder), 4)
    idle.trainer = trainer
    trainer.add_callback(idle)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return idle.seconds


class InTurn(TrainerCallback):
    """Lets the recorder work for a block of updates, rest for two, work for one, and so on."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.starts: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        recorder = self.trainer._bt_session.recorder
        if state.global_step % _BLOCK:
            return
        if state.global_step // _BLOCK % 4 in (1, 2):
            recorder._attempt = lambda what, work: True
        else:
            recorder.__dict__.pop("_attempt", None)
        self.starts.append(time.perf_counter())

    def ratios(self) -> list[float]:
        """Working / resting - 1 of every four blocks, the first four left out."""
        blocks = [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)]
        fours = [blocks[place : place + 4] for place in range(4, len(blocks) - 3, 4)]
        return [(a + d) / (b + c) - 1 for a, b, c, d in fours]


def in_turn(folder: Path, updates: int) -> tuple[float, float]:
    """Mean and standard error of what the recorder's work costs, within one training."""
    turns = InTurn()
    trainer = make_trainer(BranchingTrainer, str(folder), updates)
    turns.trainer = trainer
    trainer.add_callback(turns)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    found = turns.ratios()
    return statistics.mean(found), statistics.stdev(found) / len(found) ** 0.5


def measure(rounds: int, steps: int, updates: int) -> Result:
    """Rounds of three trainings each, one training in turns, and the idle control point."""
    torch.set_num_threads(1)
    found: dict[str, list[Sample]] = {"off": [], "on": [], "again": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[HOME_VARIABLE] = str(folder / "home")
        try:
            train(BranchingTrainer, folder, 3)
            for number in range(rounds):
                for arm in _ORDERS[number % len(_ORDERS)]:
                    kind = BranchingTrainer if arm == "on" else Trainer
                    found[arm].append(train(kind, folder, steps))
            within = in_turn(folder, updates)
            idle = idle_seconds(folder)
        finally:
            del os.environ[HOME_VARIABLE]
    return summarise(found, steps, within, idle)


def summarise(
    found: dict[str, list[Sample]], steps: int, within: tuple[float, float], idle: float
) -> Result:
    """Medians of the rounds' ratios; off is the mean of a round's two."""
    rounds = list(zip(found["off"], found["on"], found["again"], strict=True))
    walls = [2 * on.wall / (off.wall + again.wall) - 1 for off, on, again in rounds]
    cpus = [2 * on.cpu / (off.cpu + again.cpu) - 1 for off, on, again in rounds]
    return Result(
        rounds=len(rounds),
        steps=steps,
        off_ms=1e3 * statistics.median(s.wall for arm in ("off", "again") for s in found[arm]),
        on_ms=1e3 * statistics.median(sample.wall for sample in found["on"]),
        wall=statistics.median(walls),
        cpu=statistics.median(cpus),
        noise=statistics.median(abs(again.wall / off.wall - 1) for off, _on, again in rounds),
        recorder=statistics.median(sample.recorder / sample.wall for sample in found["on"]),
        noise_cpu=statistics.median(abs(again.cpu / off.cpu - 1) for off, _on, again in rounds),
        walls=walls,
        cpus=cpus,
        within=within[0],
        within_error=within[1],
        idle_us=idle * 1e6,
        machine=f"{os.cpu_count()} cores, torch {torch.__version__}, 1 thread",
    )


def table(result: Result) -> str:
    """The result for a person."""
    rows = [
        ("update, off", f"{result.off_ms:.2f} ms"),
        ("update, on", f"{result.on_ms:.2f} ms"),
        ("wall time, on / off - 1", f"{result.wall:+.2%}   (off / off: {result.noise:.2%})"),
        ("CPU time, on / off - 1", f"{result.cpu:+.2%}   (off / off: {result.noise_cpu:.2%})"),
        ("recorder, CPU / wall time", f"{result.recorder:.2%}"),
        ("each round, wall", " ".join(f"{ratio:+.1%}" for ratio in result.walls)),
        ("each round, CPU", " ".join(f"{ratio:+.1%}" for ratio in result.cpus)),
        ("recorder works / rests - 1", f"{result.within:+.2%} +- {result.within_error:.2%}"),
        ("idle control point", f"{result.idle_us:.2f} us"),
        ("rounds x updates", f"{result.rounds} x {result.steps}"),
        ("machine", result.machine),
    ]
    return "\n".join(f"{name:26} {value}" for name, value in rows)


def main() -> None:
    """Measure, and print the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=15, help="timed updates of each training")
    parser.add_argument("--updates", type=int, default=1200, help="of the training in turns")
    parser.add_argument("--json", type=Path, help="write the result there too")
    options = parser.parse_args()
    result = measure(options.rounds, options.steps, options.updates)
    text = json.dumps(asdict(result), indent=2)
    print(f"{table(result)}\n{text}")
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if result.within <= BUDGET else 1)


if __name__ == "__main__":
    main()
