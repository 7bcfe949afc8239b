"""The command `study`: a case study, with its table and its plot."""

from __future__ import annotations

import dataclasses
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import json_option
from branchtrack.cli.output import echo, emit, print_table
from branchtrack.core import formats
from branchtrack.errors import InvalidInput

if TYPE_CHECKING:
    from branchtrack.examples.studies.conduct import Progress
    from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Study

_OUT = "studies"


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--list", "is_list", is_flag=True, help="List the studies, as without a NAME.")
@click.option("--quick", is_flag=True, help="Few updates and seeds, in under three minutes.")
@click.option("--seeds", type=click.IntRange(1, 100), help="How many seeds [the study's own].")
@click.option("--out", default=_OUT, show_default=True, metavar="DIR", help="Where results go.")
@click.option("--again", is_flag=True, help="Train everything anew.")
@click.option(
    "--review", is_flag=True, help="Also try the changes of one run of each arm: which helped?"
)
@click.option("--base-url", metavar="URL", help="llm: an OpenAI-compatible endpoint.")
@click.option("--model", metavar="NAME", help="llm: its model.")
@json_option
def study(
    name: str | None,
    is_list: bool,
    quick: bool,
    seeds: int | None,
    out: str,
    again: bool,
    review: bool,
    base_url: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Train what a case study compares, and write its table and plot.

    They go to DIR/RESULTS.md and DIR/NAME.svg, the trees to a home of their own in DIR/NAME. One
    that was interrupted goes on where it was. Needs branchtrack[studies]. Without a NAME: which
    studies there are, and how long they take on two cores.

    \b
    Example: branchtrack study llm --quick
    """
    from branchtrack.examples.studies import registry

    if name is None or is_list:
        _list(list(registry.listed()), as_json)
        return
    chosen = registry.get(name)
    plan = chosen.plan(quick, seeds)
    plan = _with_options(plan, base_url=base_url, model=model)
    words = ["branchtrack", "study", name, *(["--quick"] if quick else [])]
    words += ["--seeds", str(seeds)] if seeds else []
    words += ["--review"] if review else []
    words += ["--base-url", base_url] if base_url else []
    words += ["--model", model] if model else []
    words += ["--out", out] if out != _OUT else []
    _conduct(chosen, plan, Path(out), shlex.join(words), again, review, as_json)


def _conduct(
    study: Study,
    plan: Plan,
    out: Path,
    command: str,
    again: bool,
    review: bool,
    as_json: bool,
) -> None:
    from branchtrack.examples.studies import plot, report, reviews, table
    from branchtrack.examples.studies.conduct import conduct

    _check_packages()
    # As Ctrl-C: the trainings of a study end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = out / (f"{study.name}-quick" if plan.quick else study.name)
    outcomes = conduct(study, plan, folder, _say, again)
    if review:
        outcomes = reviews.reviewed(plan, folder, outcomes, _say_review)
        study = dataclasses.replace(study, columns=(*study.columns, reviews.column()))
    home, remarks = str(folder / "home"), [*study.remarks(plan, outcomes)]
    remarks += [reviews.remark(plan)] if review else []
    conditions = report.Conditions.here(command)
    body = report.section(study, plan, outcomes, conditions, remarks, home)
    picture = plot.svg(study, plan, outcomes)
    paths = report.write(out, study.name, body, picture)
    rows = list(table.rows(study, plan, outcomes))
    if as_json:
        emit(_payload(study, plan, outcomes, rows, paths, home, remarks))
        return
    headers = [header.upper() for header in table.headers(study)]
    print_table(headers, [row.cells() for row in rows], right=" ".join(headers[2:]))
    for remark in remarks:
        echo(remark)
    echo(f"\n{paths[0]}, {paths[1]}. Every figure is a tree: branchtrack --home {home} serve")


def _say_review(done: int, total: int) -> None:
    echo(f"{done} of {total} runs reviewed", err=True)


def _payload(
    study: Study,
    plan: Plan,
    outcomes: list[Outcome],
    rows: list[Any],
    paths: tuple[Path, Path],
    home: str,
    remarks: Any,
) -> dict[str, Any]:
    return {
        "study": study.name,
        "quick": plan.quick,
        "steps": plan.steps,
        "seeds": list(plan.seeds),
        "rows": [dataclasses.asdict(row) for row in rows],
        "outcomes": [outcome.as_dict() for outcome in outcomes],
        "remarks": list(remarks),
        "results": str(paths[0]),
        "plot": str(paths[1]),
        "home": home,
    }


def _with_options(plan: Plan, **options: str | None) -> Plan:
    """Return a plan with options of the command line.

    Raises:
        InvalidInput: the study has no such option, or one is there without the other.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    for name, value in chosen.items():
        if name not in plan.options:
            raise InvalidInput(name, value, "nothing: this study asks no language model")
    if len(chosen) == 1:
        (name,) = chosen
        raise InvalidInput(name, chosen[name], "base_url and model together")
    return dataclasses.replace(plan, options={**plan.options, **chosen})


def _check_packages() -> None:
    """Refuse now what would fail after all trainings.

    Raises:
        InvalidInput: the packages for studies are not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("matplotlib", "sklearn") if find_spec(name) is None]
    if missing:
        what = f"Studies need {' and '.join(missing)}."
        raise InvalidInput("packages", missing, "pip install branchtrack[studies]", what=what)


def _say(progress: Progress) -> None:
    """Print a line on standard error: what is done, the newest result, and what is left."""
    newest, words = progress.newest, f"{progress.done} of {progress.total}"
    if newest is not None:
        result = "diverged" if newest.diverged else f"held-out loss {newest.loss:.3f}"
        facts = filter(None, [newest.arm, newest.case, f"seed {newest.seed}"])
        words += f": {', '.join(facts)}: {result}"
    elif progress.done:
        words += " trained before"
    if progress.left:
        words += f"; about {formats.duration(progress.left)} left"
    echo(words, err=True)


def _list(studies: list[Study], as_json: bool) -> None:
    if as_json:
        emit(
            [
                {
                    "name": study.name,
                    "title": study.title,
                    "question": study.question,
                    "quick_minutes": study.expected[0],
                    "minutes": study.expected[1],
                    "gigabytes": study.disk,
                }
                for study in studies
            ]
        )
        return
    rows = [
        (
            study.name,
            *(f"{minutes:g} min" for minutes in study.expected),
            f"{study.disk:g} GB",
            study.title,
        )
        for study in studies
    ]
    print_table(("NAME", "--QUICK", "FULL", "DISK", ""), rows, right="--QUICK FULL DISK")
