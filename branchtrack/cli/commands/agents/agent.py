"""The command `agent`: have a policy or a language model watch a run from here."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit

if TYPE_CHECKING:
    from branchtrack.agents.runner import Controller
    from branchtrack.core.agents.records import Agent
    from branchtrack.db.engine import Database

#: The word for a language model in place of a policy.
LLM = "llm"


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@click.option(
    "--policy",
    required=True,
    metavar="NAME",
    help="guard, plateau, grad-norm, early-stop, population, or llm.",
)
@click.option(
    "--mode",
    type=click.Choice(("observe", "propose", "act")),
    default="propose",
    show_default=True,
    help="Only record what it would do, ask a person first, or act.",
)
@click.option("--name", metavar="NAME", help="Its name in the record [the policy's].")
@click.option(
    "--option",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the policy, such as factor=0.3; may be repeated.",
)
@click.option(
    "--budget",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="per_1000_steps, interventions, branches, steps, exchanges, tokens or dollars.",
)
@click.option("--base-url", metavar="URL", help="llm: an OpenAI-compatible endpoint.")
@click.option("--model", metavar="NAME", help="llm: the model.")
@click.option("--goal", metavar="TEXT", help="llm: what it is to achieve.")
@click.option(
    "--look",
    "look_seconds",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks at the run.",
)
@json_option
@pass_command_line
def agent(
    line: CommandLine,
    ref: str,
    policy: str,
    mode: str,
    name: str | None,
    assignments: tuple[str, ...],
    limits: tuple[str, ...],
    base_url: str | None,
    model: str | None,
    goal: str | None,
    look_seconds: float,
    as_json: bool,
) -> None:
    """Watch a RUN (or RUN/BRANCH) by a policy or a language model until it ends.

    It asks in its own name, within its budget. What it proposes waits for `branchtrack approve`, or
    for a person on the agents page. Ctrl-C ends it; started again it goes on where it was. The key
    of a language model is BRANCHTRACK_LLM_KEY or OPENAI_API_KEY.

    \b
    Example: branchtrack agent demo --policy guard --mode act --budget branches=4
             branchtrack agent demo --policy llm --base-url http://127.0.0.1:8000/v1 --model small
    """
    from branchtrack import control
    from branchtrack.agents.execution import Executor
    from branchtrack.agents.hiring import hire
    from branchtrack.agents.runner import Runner
    from branchtrack.analysis import payloads_agents
    from branchtrack.cli.worker_options import signals
    from branchtrack.core.settings import parse_assignments

    given: dict[str, Any] = parse_assignments(assignments, "option")
    asked = {"base_url": base_url, "model": model, "goal": goal}
    given |= {key: value for key, value in asked.items() if value is not None}
    with line.database() as database:
        executor = Executor(database, line.store, line.config.home)
        controller, options = _controller(policy, given, executor, as_json)
        hired = hire(
            database,
            ref,
            policy=policy,
            options=options,
            mode=mode,
            actor=control.local_actor(),
            name=name,
            budget=parse_assignments(limits, "budget"),
            every_branch=controller.every_branch,
        )
        _announce(database, ref, hired, given.get("metric"), as_json)
        with signals() as came:
            say = partial(_say, as_json=as_json)
            ended = Runner(executor, hired, controller, say, look_seconds).run(came.stop)
        with database.read() as connection:
            payload = payloads_agents.agent(connection, ended, ended.ended_at or 0.0)
    if as_json:
        emit(payload)
    if ended.state == "failed":
        raise click.exceptions.Exit(1)


def _controller(
    policy: str, options: dict[str, Any], executor: Any, as_json: bool
) -> tuple[Controller, dict[str, Any]]:
    """Return what decides, and its options with those that were left out."""
    if policy == LLM:
        from branchtrack.agents.llm.controller import ModelController

        model = ModelController.of(options, executor.database, lambda text: _say(text, as_json))
        return model, model.stored_options
    from branchtrack.agents.rules import RuleController

    rules = RuleController(policy, options)
    return rules, rules.options


def _announce(database: Database, ref: str, hired: Agent, metric: Any, as_json: bool) -> None:
    """Say who watches what; warn of a metric that is not logged: misspelled, or logged later."""
    from branchtrack.agents import observer
    from branchtrack.db import runs

    warning = ""
    if isinstance(metric, str) and metric:
        with database.read() as connection:
            branch = runs.find_branch(connection, ref)
            warning = observer.metric_warning(connection, branch, metric)
    if warning:
        click.echo(json.dumps({"note": warning}) if as_json else f"Warning: {warning}", err=True)
    if not as_json:
        echo(f"{hired.name} watches {ref}, and may {hired.mode}. Ctrl-C ends it.")


def _say(text: str, as_json: bool) -> None:
    click.echo(json.dumps({"note": text}) if as_json else text, err=as_json)
