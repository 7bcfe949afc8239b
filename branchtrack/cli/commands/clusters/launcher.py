"""The commands `launcher add`, `list`, `show` and `remove`: profiles of clusters' options."""

from __future__ import annotations

import shlex
from typing import Any

import click

from branchtrack.analysis.payloads_audit import moment
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, field_lines, print_table, styled
from branchtrack.core.launchers.profiles import Profile, title


@click.group()
def launcher() -> None:
    """Name the options of a cluster's jobs once, for `--on NAME` and for the pages.

    \b
    Example: branchtrack launcher add gpu --kind slurm -- --partition=main --gres=gpu:1
             branchtrack resume 3fa9 --on gpu --set lr=1e-4
    """


@launcher.command()
@click.argument("name")
@click.option("--kind", required=True, metavar="KIND", help="The kind of cluster: slurm or ray.")
@click.argument("options", nargs=-1, metavar="-- [OPTIONS]")
@json_option
@pass_command_line
def add(
    line: CommandLine, /, name: str, kind: str, options: tuple[str, ...], as_json: bool
) -> None:
    """Add a profile of that NAME; the words after -- are options of its jobs. Only an admin may.

    \b
    Example: branchtrack launcher add gpu --kind slurm -- --partition=main --gres=gpu:1 --requeue
             branchtrack launcher add ray-gpu --kind ray -- --address=http://HOST:8265 --num-gpus=1
    """
    from branchtrack.control.launchers import profiles

    with line.database() as database:
        actor = profiles.actor_at_shell(line.config.home)
        profile = profiles.add(database, name, kind, options, actor=actor)
    _show(profile, as_json)


@launcher.command("list")
@json_option
@pass_command_line
def list_profiles(line: CommandLine, as_json: bool) -> None:
    """List the profiles.

    \b
    Example: branchtrack launcher list
    """
    from branchtrack.db.orders import launchers

    with line.read() as connection:
        listed = launchers.all_of(connection)
    if as_json:
        emit([_payload(profile) for profile in listed])
        return
    if not listed:
        echo("No launcher has a name here; `branchtrack launcher add` gives one.")
    print_table(
        ("LAUNCHER", "KIND", "OPTIONS", "BY", "SINCE"),
        [
            (
                styled(profile.name, bold=True),
                title(profile.kind),
                shlex.join(profile.options),
                profile.created_by,
                ago(moment(profile.created_at)),
            )
            for profile in listed
        ],
    )


@launcher.command()
@click.argument("name")
@json_option
@pass_command_line
def show(line: CommandLine, name: str, as_json: bool) -> None:
    """Show the profile NAME.

    \b
    Example: branchtrack launcher show gpu
    """
    from branchtrack.db.orders import launchers

    with line.read() as connection:
        profile = launchers.get(connection, name)
    _show(profile, as_json)


@launcher.command()
@click.argument("name")
@json_option
@pass_command_line
def remove(line: CommandLine, name: str, as_json: bool) -> None:
    """Remove the profile NAME; what was ordered with it keeps its options. Only an admin may.

    \b
    Example: branchtrack launcher remove gpu
    """
    from branchtrack.control.launchers import profiles

    with line.database() as database:
        actor = profiles.actor_at_shell(line.config.home)
        profile = profiles.remove(database, name, actor=actor)
    if as_json:
        emit(_payload(profile))
    else:
        echo(f"Removed {profile.name}.")


def _show(profile: Profile, as_json: bool) -> None:
    if as_json:
        emit(_payload(profile))
        return
    fields = [
        ("launcher", styled(profile.name, bold=True)),
        ("kind", title(profile.kind)),
        ("options", shlex.join(profile.options) or "none"),
        ("by", f"{profile.created_by}, {ago(moment(profile.created_at))}"),
    ]
    echo("\n".join(field_lines(fields)))


def _payload(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "kind": profile.kind,
        "options": profile.options,
        "created_by": profile.created_by,
        "created_at": moment(profile.created_at),
    }
