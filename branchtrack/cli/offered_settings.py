"""The settings that a resume of a node may change, listed."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from branchtrack.cli.context import CommandLine
from branchtrack.cli.output import echo, emit, styled
from branchtrack.cli.output import setting as written
from branchtrack.error_payload import jsonable

if TYPE_CHECKING:
    from branchtrack.db.engine import Database


def offered_settings(database: Database, node_ref: str) -> list[dict[str, Any]]:
    """Return the settings that a resume of a node may change, with current values and bounds.

    Raises:
        NotFound: there is no such node.
    """
    from branchtrack import control
    from branchtrack.db import nodes

    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        settings = control.resume_settings(connection, node)
    return [
        {
            "name": name,
            "value": node.settings.get(name),
            "dtype": setting.dtype,
            "minimum": setting.minimum,
            "maximum": setting.maximum,
            "choices": list(setting.choices),
            "allowed": setting.allowed,
            "unit": setting.unit,
            "about": setting.about,
            "live": setting.live,
        }
        for name, setting in settings.items()
    ]


def list_settings(line: CommandLine, node: str, as_json: bool) -> None:
    """Print the settings of a node with their values, bounds and meaning."""
    with line.database() as database:
        settings = offered_settings(database, node)
    if as_json:
        emit(jsonable(settings))
        return
    for setting in settings:
        value = setting["value"]
        is_set = value not in (None, "")
        now = f"{written(value)} {setting['unit']}".strip() if is_set else "not set"
        echo(f"{styled(setting['name'], bold=True)}  {now}")
        about = f"{setting['about']}; " if setting["about"] else ""
        text = f"{about}allowed: {setting['allowed']}"
        echo(textwrap.indent("\n".join(textwrap.wrap(text, 92)), "    "))
