"""The `branchtrack` command, which loads commands on use and turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. It must not import what a single
command needs; ``branchtrack runs`` loads neither torch nor Flask nor alembic.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import Any

import click

from branchtrack import config
from branchtrack.cli.context import CommandLine
from branchtrack.cli.output import echo, emit
from branchtrack.error_payload import error_payload
from branchtrack.errors import (
    BranchtrackError,
    HomeError,
    InvalidInput,
    NotFound,
    SchemaError,
    printable,
)

#: Where each command is: ``module:attribute`` under `branchtrack.cli`, in the order of the help.
COMMANDS = {
    "demo": "commands.demo:demo",
    "study": "commands.examples.study:study",
    "init": "commands.store:init",
    "runs": "commands.querying.runs:runs",
    "tree": "commands.show:tree",
    "show": "commands.show:show",
    "diff": "commands.show:diff",
    "curve": "commands.curve:curve",
    "report": "commands.querying.report:report",
    "find": "commands.querying.find:find",
    "data": "commands.querying.data:data",
    "interventions": "commands.querying.interventions:interventions",
    "replay": "commands.querying.replay:replay",
    "settings": "commands.requests:settings",
    "set": "commands.steer:set_settings",
    "pause": "commands.steer:pause",
    "unpause": "commands.steer:unpause",
    "stop": "commands.steer:stop",
    "checkpoint": "commands.steer:checkpoint",
    "evaluate": "commands.steer:evaluate",
    "rewind": "commands.steer:rewind",
    "freeze": "commands.steer:freeze",
    "unfreeze": "commands.steer:unfreeze",
    "reset": "commands.steer:reset",
    "note": "commands.steer:note",
    "act": "commands.steer:act",
    "rename": "commands.labels:rename",
    "tag": "commands.labels:tag",
    "describe": "commands.labels:describe",
    "archive": "commands.labels:archive",
    "unarchive": "commands.labels:unarchive",
    "requests": "commands.requests:requests",
    "agent": "commands.agents.agent:agent",
    "agents": "commands.agents.agents:agents",
    "mcp": "commands.agents.mcp:mcp",
    "proposals": "commands.agents.proposals:proposals",
    "approve": "commands.agents.proposals:approve",
    "decline": "commands.agents.proposals:decline",
    "queue": "commands.requests:queue",
    "cancel": "commands.requests:cancel",
    "audit": "commands.audit:audit",
    "alerts": "commands.watching.alerts:alerts",
    "watch": "commands.watching.watch:watch",
    "resume": "commands.resume:resume",
    "trial": "commands.trials.trial:trial",
    "trials": "commands.trials.trials:trials",
    "review": "commands.trials.review:review",
    "promote": "commands.trials.promote:promote",
    "merge": "commands.merge:merge",
    "continue": "commands.continuation:continue_run",
    "serve": "commands.serve:serve",
    "worker": "commands.serve:worker",
    "verify": "commands.verify:verify",
    "certify": "commands.certify:certify",
    "export": "commands.store:export",
    "import": "commands.imports:import_folder",
    "bundle": "commands.bundles:bundle",
    "unbundle": "commands.bundles:unbundle",
    "storage": "commands.storage:storage",
    "gc": "commands.storage:gc",
    "pin": "commands.storage:pin",
    "unpin": "commands.storage:unpin",
    "rebuild": "commands.storage:rebuild",
    "delete": "commands.trash:delete",
    "restore": "commands.trash:restore",
    "trash": "commands.trash:trash",
    "trust": "commands.trust:trust_home",
    "token": "commands.tokens:token",
    "launcher": "commands.clusters.launcher:launcher",
    "db": "commands.store:db",
    "skill": "commands.guidance.skill:skill",
}
#: The errors that the caller can correct; every other one is a failure.
BAD_INPUT = (InvalidInput, NotFound, SchemaError, HomeError)
INTERRUPTED = 130
#: Characters of a path that are shown.
_PATH = 200


class Branchtrack(click.Group):
    """A group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"branchtrack.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes a message and an exit code."""
        arguments = [*ctx._protected_args, *ctx.args]
        as_json = "--json" in arguments
        try:
            return super().invoke(ctx)
        except BranchtrackError as error:
            print_error(error, as_json)
            raise click.exceptions.Exit(exit_code(error)) from error
        except click.UsageError as error:
            if as_json:
                emit({"error": _usage_payload(error)})
            raise
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG or error.filename is None:
                # Other failures may happen after something was done.
                raise
            refused = _refused_path(error)
            print_error(refused, as_json)
            raise click.exceptions.Exit(exit_code(refused)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None


def _usage_payload(error: click.UsageError) -> dict[str, Any]:
    """Return a mistake of the command line in the form that every error has."""
    option = getattr(getattr(error, "param", None), "name", None)
    return {
        "type": "UsageError",
        "what": error.format_message(),
        "safe": "Nothing was changed.",
        "fix": "--help shows what the command takes.",
        "field": option,
        "facts": {},
    }


def _refused_path(error: OSError) -> InvalidInput:
    path = f"{printable(os.fsdecode(error.filename))[:_PATH]}..."
    return InvalidInput("path", path, "a shorter path", what=f"{path}: {error.strerror}.")


def exit_code(error: BranchtrackError) -> int:
    """Return 2 if the input was at fault, else 1."""
    return 2 if isinstance(error, BAD_INPUT) else 1


def print_error(error: BranchtrackError, as_json: bool) -> None:
    """Print the three parts of an error's message; on stdout as one JSON object with ``--json``."""
    if as_json:
        emit({"error": error_payload(error)})
    lines = [sentence for sentence in (error.safe, error.fix) if sentence]
    echo("\n       ".join([f"error: {error.what}", *lines]), err=True)


@click.group(cls=Branchtrack, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home", metavar="DIR", help=f"Folder of branchtrack's files [{config.DEFAULT_HOME}]."
)
@click.option("--database-url", metavar="URL", help="Database, if it is not in the home.")
@click.version_option(package_name="branchtrack")
@click.pass_context
def cli(ctx: click.Context, home: str | None, database_url: str | None) -> None:
    """Branch, rewind and steer live training runs, with a record of every change.

    A node is named by its id (at least 4 characters that no other id begins with), a branch by
    RUN/BRANCH; RUN alone is its first branch. BRANCHTRACK_HOME and BRANCHTRACK_DATABASE_URL can
    replace the options.

    \b
    Try: branchtrack demo
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without the characters for a tree's lines shows question marks, and no
            # traceback.
            stream.reconfigure(errors="replace")
    ctx.obj = CommandLine(config.load(home, database_url))


def main() -> None:
    """Run the command line; this does not return."""
    cli(prog_name="branchtrack")
