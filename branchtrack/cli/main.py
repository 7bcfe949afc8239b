"""The `branchtrack` command: its families loaded when asked for, and errors made into exit codes.

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
from branchtrack.cli.output import echo, emit, jsonable
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
    "demo": "demo:demo",
    "init": "storing:init",
    "runs": "reading:runs",
    "tree": "reading:tree",
    "show": "reading:show",
    "diff": "reading:diff",
    "curve": "plotting:curve",
    "settings": "inquiring:settings",
    "set": "changing:set_settings",
    "pause": "changing:pause",
    "unpause": "changing:unpause",
    "stop": "changing:stop",
    "checkpoint": "changing:checkpoint",
    "evaluate": "changing:evaluate",
    "rewind": "changing:rewind",
    "freeze": "changing:freeze",
    "unfreeze": "changing:unfreeze",
    "reset": "changing:reset",
    "note": "changing:note",
    "act": "changing:act",
    "requests": "inquiring:requests",
    "cancel": "inquiring:cancel",
    "audit": "auditing:audit",
    "resume": "resuming:resume",
    "serve": "serving:serve",
    "worker": "serving:worker",
    "verify": "verify:verify",
    "certify": "certifying:certify",
    "export": "storing:export",
    "trust": "trusting:trust_home",
    "token": "tokens:token",
    "db": "storing:db",
}
#: The errors that are the caller's to mend; every other one is a failure.
BAD_INPUT = (InvalidInput, NotFound, SchemaError, HomeError)
INTERRUPTED = 130
#: Characters of a path that are shown.
_PATH = 200


class Branchtrack(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"branchtrack.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong becomes a message and an exit code."""
        asked = [*ctx._protected_args, *ctx.args]
        as_json = "--json" in asked
        try:
            return super().invoke(ctx)
        except BranchtrackError as error:
            print_error(error, as_json)
            raise click.exceptions.Exit(exit_code(error)) from error
        except click.UsageError as error:
            if as_json:
                emit({"error": {"type": "UsageError", "what": error.format_message()}})
            raise
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG or error.filename is None:
                # Other failures may come after something was done.
                raise
            refused = _refused_path(error)
            print_error(refused, as_json)
            raise click.exceptions.Exit(exit_code(refused)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None


def _refused_path(error: OSError) -> InvalidInput:
    path = f"{printable(os.fsdecode(error.filename))[:_PATH]}..."
    return InvalidInput("path", path, "a shorter path", what=f"{path}: {error.strerror}.")


def exit_code(error: BranchtrackError) -> int:
    """2 where the input was at fault, else 1."""
    return 2 if isinstance(error, BAD_INPUT) else 1


def print_error(error: BranchtrackError, as_json: bool) -> None:
    """What happened, what is safe and the way out; on stdout as one JSON object where asked for."""
    if as_json:
        emit({"error": error_dict(error)})
    lines = [part for part in (error.safe, error.fix) if part]
    echo("\n       ".join([f"error: {error.what}", *lines]), err=True)


def error_dict(error: BranchtrackError) -> dict[str, Any]:
    """An error as JSON: its class, its three sentences and its facts."""
    return {
        "type": type(error).__name__,
        "what": error.what,
        "safe": error.safe,
        "fix": error.fix,
        "facts": jsonable(error.facts),
    }


@click.group(cls=Branchtrack, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home", metavar="DIR", help=f"Folder of branchtrack's files [{config.DEFAULT_HOME}]."
)
@click.option("--database-url", metavar="URL", help="Database, where it is not in the home.")
@click.version_option(package_name="branchtrack")
@click.pass_context
def cli(ctx: click.Context, home: str | None, database_url: str | None) -> None:
    """Branch, rewind and steer live training runs, with a record of every change.

    A node is named by its id (any 4 characters or more of it that fit no other), a branch by
    RUN/BRANCH; RUN alone is its first branch. BRANCHTRACK_HOME and BRANCHTRACK_DATABASE_URL say
    the same as the options.

    \b
    Try: branchtrack demo
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks the lines of a tree shows question marks, and no traceback.
            stream.reconfigure(errors="replace")
    ctx.obj = CommandLine(config.load(home, database_url))


def main() -> None:
    """The entry point of the command; does not return."""
    cli(prog_name="branchtrack")
