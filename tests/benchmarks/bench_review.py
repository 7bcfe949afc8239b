"""One agent's run of ten interventions and more, and what trials say of each of them.

    python -m tests.benchmarks.bench_review FOLDER

The agent is the scripted rule of the study `llm`: it halves the rate where the held-out loss has
stopped, and doubles it where that falls evenly. The run is in FOLDER/home.
"""

from __future__ import annotations

import sys
from pathlib import Path

from branchtrack.analysis.trials import payloads
from branchtrack.cli.trial_lines import print_review
from branchtrack.control.trials.review import plan_review
from branchtrack.examples.studies import endpoint, llm
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Plan

_CASE, _RATE, _SEED = "lr 0.02", 0.02, 0
_STEPS, _EVERY = 480, 20
#: Updates of each training of a trial, and pairs of each change at most.
_TRIED, _REPEATS = 40, 6


def main(folder: Path) -> None:
    """Train the run with its agent, review it, and print the verdicts."""
    plan = Plan(
        cases={_CASE: _RATE},
        seeds=[_SEED],
        steps=_STEPS,
        every=_EVERY,
        options={"trials": 2, "base_url": "", "model": endpoint.MODEL},
    )
    laboratory = Laboratory(folder, plan)
    arm = next(arm for arm in llm.ARMS if arm.name == "llm")
    run = llm.name(arm.name, _CASE, _SEED)
    try:
        with endpoint.serving() as address:
            laboratory.services["base_url"] = address
            arm.train(laboratory, _CASE, _SEED)
        words = ["--steps", str(_TRIED), "--repeats", str(_REPEATS), "--json"]
        with laboratory.command("review", run, *words, log="review") as review:
            laboratory.wait(review, "review")
        with laboratory.database.read() as connection:
            rows = plan_review(connection, run, steps=_TRIED, repeats=_REPEATS)
        print_review(payloads.review(rows))
    finally:
        laboratory.close()
        laboratory.database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
