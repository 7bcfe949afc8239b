"""A study's section of RESULTS.md, which replaces its former one and leaves those of others."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from branchtrack.examples.studies import table
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Study

RESULTS = "RESULTS.md"
_HEAD = """# Results of the case studies

Each section is written by `branchtrack study NAME`, which replaces it. All figures are read from
the record of the trainings: `steps` are all updates, those of abandoned branches and of restarts
too; `seconds` are those in which processes trained, without their start; `interventions` are
changes that took effect, and forks; `tokens` are those of a language model. What a training comes
to is the node of its tree with the lowest loss on validation data (in the studies `live-data` and
`cooldown` its last one), and the held-out loss is that node's, measured once, on data that nothing
was chosen by: mean ± standard deviation over the seeds. What has no finite loss is counted as
diverged, and is in no mean.
"""
_PACKAGES = ("branchtrack", "torch", "transformers", "numpy")


@dataclass(frozen=True)
class Conditions:
    """Under what circumstances a study was made: the ``command``, the day, machine and versions."""

    command: str
    day: str
    machine: str
    versions: str

    @classmethod
    def here(cls, command: str) -> Conditions:
        """Return those of this process."""
        words = [f"Python {platform.python_version()}", *map(_version, _PACKAGES)]
        machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
        return cls(command, date.today().isoformat(), machine, ", ".join(words))


def section(
    study: Study,
    plan: Plan,
    outcomes: Sequence[Outcome],
    conditions: Conditions,
    remarks: Sequence[str] = (),
    home: str = "",
) -> str:
    """Return the section of a study; ``home`` is where its trees can be opened."""
    rows = [row.cells() for row in table.rows(study, plan, outcomes)]
    return "\n\n".join(
        [
            f"## {study.title}{' (quick)' if plan.quick else ''}",
            study.question,
            table.markdown(table.headers(study), rows),
            f"![{study.title}: {study.axes[1]}, by {study.axes[0]}]({study.name}.svg)",
            _conditions(study, plan, conditions),
            "\n".join(f"- **{arm.name}**: {arm.about}" for arm in study.arms),
            *(["\n".join(f"- {remark}" for remark in remarks)] if remarks else []),
            _runs(outcomes, home),
        ]
    )


def replaced(text: str, name: str, body: str) -> str:
    """Return the text of a file with the section of a study's name replaced, or appended."""
    first, last = f"<!-- study {name} -->", f"<!-- end of {name} -->"
    block = f"{first}\n{body}\n{last}"
    before, mark, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if mark and end:
        return f"{before}{block}{after}"
    return f"{(text or _HEAD).rstrip()}\n\n{block}\n"


def write(folder: Path, name: str, body: str, plot: str) -> tuple[Path, Path]:
    """Write a study's section and its plot into a folder; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    results, picture = folder / RESULTS, folder / f"{name}.svg"
    text = results.read_text(encoding="utf-8") if results.exists() else ""
    picture.write_text(plot, encoding="utf-8")
    draft = results.with_suffix(".new")
    draft.write_text(replaced(text, name, body), encoding="utf-8")
    os.replace(draft, results)
    return results, picture


def _conditions(study: Study, plan: Plan, conditions: Conditions) -> str:
    seeds = ", ".join(map(str, plan.seeds))
    quick = (
        " This is the quick variant: few updates and seeds, to see that all of it works."
        if plan.quick
        else ""
    )
    return (
        f"`{conditions.command}`, {conditions.day}. Seeds {seeds}; {plan.steps:,} {study.budget}, "
        f"evaluated every {plan.every}. {conditions.machine}; two trainings at a time, one thread "
        f"each. {conditions.versions}.{quick}"
    )


def _runs(outcomes: Sequence[Outcome], home: str) -> str:
    lines = [
        [outcome.case or "any", outcome.arm, str(outcome.seed), _loss(outcome), f"`{outcome.run}`"]
        for outcome in sorted(outcomes, key=lambda o: (o.case, o.arm, o.seed))
    ]
    listed = table.markdown(("case", "arm", "seed", "held-out loss", "node"), lines)
    opened = f"`branchtrack --home {home} serve` opens all of them as trees." if home else ""
    return f"<details><summary>Every training</summary>\n\n{opened}\n\n{listed}\n\n</details>"


def _loss(outcome: Outcome) -> str:
    return "diverged" if outcome.diverged else f"{outcome.loss:.4f}"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"
