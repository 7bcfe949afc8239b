"""What unbundling would do in a home: which events, checkpoints and tensors it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from sqlalchemy import Connection, select

from branchtrack.bundles.departure import check_idle
from branchtrack.bundles.source import Bundle, Carried
from branchtrack.checkpoints.manifest import Entry
from branchtrack.core.names import free_name, valid_name
from branchtrack.db import audit, nodes, runs, tables
from branchtrack.db.storage import references
from branchtrack.errors import InvalidInput

#: How a run is merged: it is new here, has fewer events than the bundle, or has all of them.
NEW, EXTENDED, WEIGHTS = "new", "extended", "weights"
#: How much of a checkpoint is left.
_WHOLENESS = {references.RECIPE: 1, references.WEIGHTS: 2, None: 3}


@dataclass(frozen=True)
class Plan:
    """``events`` are the run's that are here already; ``lacking`` are checkpoints to be written.

    ``tensors`` is what has to be written of these, ``present`` counts those that are here.
    ``removed`` are the names of branches that were purged or withdrawn where the bundle is from.
    """

    kind: str
    name: str
    events: int
    lacking: tuple[Carried, ...]
    tensors: dict[str, Entry]
    present: int
    removed: tuple[str, ...] = ()

    @property
    def ends_trust(self) -> bool:
        """Return whether commands or variables come with it that a resume would start with."""
        return self.kind != WEIGHTS


def plan(connection: Connection, bundle: Bundle, name: str | None) -> Plan:
    """Compare a bundle with a home.

    Raises:
        InvalidInput: the run here has other events, is not at rest, in the trash or purged, or the
            name is taken.
    """
    links = audit.links(connection, bundle.run_id)
    rows = tables.runs
    row = connection.execute(
        select(rows.c.name, rows.c.trashed_at, rows.c.purged_at).where(rows.c.id == bundle.run_id)
    ).first()
    if row is not None and row.purged_at is not None:
        raise InvalidInput(
            "file",
            str(bundle.path),
            "a run that was not purged here; unbundle it into another home (--home DIR)",
            what=f"The run {bundle.run_name} was purged here, and its log remains.",
        )
    if row is not None and row.trashed_at is not None:
        raise InvalidInput(
            "file",
            str(bundle.path),
            f"a run that is not in the trash here: `branchtrack restore {row.name}` brings it back;"
            f" once `branchtrack trash --empty {row.name}` has purged it for good, it can come to"
            " another home only (--home DIR)",
            what=f"The run {row.name} is in the trash here.",
        )
    here = row.name if row is not None else None
    if here is None:
        kind = NEW
    else:
        _check_chain(bundle, links, here)
        kind = EXTENDED if len(links) < len(bundle.links) else WEIGHTS
    if kind == EXTENDED:
        check_idle(connection, runs.get_run(connection, bundle.run_id))
    chosen = _name(connection, bundle, name, here, len(links), kind)
    lacking = tuple(_lacking(connection, bundle, kind))
    needed = {digest: entry for each in lacking for digest, entry in each.entries.items()}
    present = nodes.packs_of(connection, needed)
    return Plan(
        kind,
        chosen,
        len(links),
        lacking,
        {digest: entry for digest, entry in needed.items() if digest not in present},
        len(present),
        _removed(connection, bundle) if kind == EXTENDED else (),
    )


def _removed(connection: Connection, bundle: Bundle) -> tuple[str, ...]:
    there = {row["id"] for row in bundle.rows("branches")}
    here = runs.list_branches(connection, bundle.run_id)
    return tuple(branch.name for branch in here if branch.id not in there)


def _check_chain(bundle: Bundle, links: list[str], name: str) -> None:
    """Refuse a run whose events are neither the beginning of the bundle's nor go on from them."""
    for seq, (here, there) in enumerate(zip_longest(links, bundle.links), start=1):
        if here is None or there is None:
            return
        if here != there:
            raise InvalidInput(
                "file",
                str(bundle.path),
                f"a bundle whose events go on from those of the run {name} here; to have both, "
                "unbundle it into another home (--home DIR)",
                what=f"The run {name} has gone on differently in both homes: event {seq} is the "
                f"first that differs. The last is {len(links)} ({links[-1][:12]}) here, and "
                f"{len(bundle.links)} ({bundle.links[-1][:12]}) in the bundle.",
            )


def _name(
    connection: Connection,
    bundle: Bundle,
    name: str | None,
    here: str | None,
    events: int,
    kind: str,
) -> str:
    """Return the name that the run will have here."""
    if name is not None:
        valid_name(name, "name")
        if kind == WEIGHTS and name != here:
            raise InvalidInput(
                "name", name, f"{here!r}, or none: `branchtrack rename {here} {name}` renames it"
            )
    chosen = name or bundle.run_name
    if name is None and here is not None:
        # A name that was chosen here stays, unless the bundle tells of its renaming.
        renamed = kind == EXTENDED and any(
            row["kind"] == "run" and row["state"] == "renamed"
            for row in bundle.rows("events")
            if row["seq"] > events
        )
        chosen = bundle.run_name if renamed else here
    taken = runs.names(connection) - {here}
    if chosen in taken:
        free = free_name(chosen, taken)
        raise InvalidInput(
            "name",
            chosen,
            f"a name that is free here: give one with --name, for example --name {free}",
            what=f"Another run is named {chosen!r} here.",
        )
    return chosen


def _lacking(connection: Connection, bundle: Bundle, kind: str) -> Iterator[Carried]:
    """Yield the checkpoints of which the bundle has more than this home."""
    states = references.states(connection)
    for checkpoint in bundle.checkpoints:
        if checkpoint.digest not in states:
            if kind != WEIGHTS:
                yield checkpoint
        elif _WHOLENESS[checkpoint.thinned] > _WHOLENESS[states[checkpoint.digest]]:
            yield checkpoint
