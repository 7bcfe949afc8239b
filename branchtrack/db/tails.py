"""The tail of a series: its points outside of blocks, and the seal by which a lost one is noticed.

The seal of a series is the digest of its row plus the sum of the seals of the points in its tail,
modulo 2**64: a point more or less is an addition, whatever the length of the tail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, select

from branchtrack.db import seals
from branchtrack.db.tables import metric_points, metric_series

_MODULUS = 1 << 64
#: Tells the seal of a series with an empty tail from one that covers the row alone: those of
#: databases that were written before tails were sealed.
_COVERS_TAIL = 1


@dataclass(frozen=True)
class Tail:
    """``count`` points, none after step ``last``, and the ``seal`` of the series with them."""

    series_id: int
    count: int
    last: int
    seal: int

    def minus(self, point_seals: Iterable[str | None]) -> Tail:
        """Return the tail without points that it holds."""
        numbers = [_number(seal) for seal in point_seals]
        seal = (self.seal - sum(numbers)) % _MODULUS
        return replace(self, count=self.count - len(numbers), seal=seal)

    def of_other_row(self, before: int, now: int) -> Tail:
        """Return the tail after its series' row changed; both as `row_seal` returns them."""
        return replace(self, seal=(self.seal - before + now) % _MODULUS)


def load(connection: Connection, series_id: int) -> Tail:
    """Load the tail of a series; the seal is the stored one.

    So a loss before this is still noticed, whichever process writes next.
    """
    points = metric_points.c.series_id == series_id
    query = select(func.count(), func.max(metric_points.c.step)).where(points)
    count, last = connection.execute(query).one()
    row = row_seal(connection, series_id)
    stored = seals.stored(connection, metric_series, series_id)
    seal = None if stored is None else int(stored, 16)
    if seal in (None, row):
        held = connection.execute(select(metric_points.c.seal).where(points)).scalars()
        seal = (row + _COVERS_TAIL + sum(map(_number, held))) % _MODULUS
    return Tail(series_id, count, -1 if last is None else last, seal or 0)


def extended(connection: Connection, tail: Tail, rows: Sequence[Mapping[str, Any]]) -> Tail:
    """Return the tail with rows of points about to be written, each step once."""
    steps = [row["step"] for row in rows]
    if min(steps) <= tail.last:
        query = select(metric_points.c.step, metric_points.c.seal).where(
            metric_points.c.series_id == tail.series_id,
            metric_points.c.step.between(min(steps), max(steps)),
        )
        repeated = set(steps)
        held = connection.execute(query).all()
        tail = tail.minus(row.seal for row in held if row.step in repeated)
    seal = (tail.seal + sum(int(row["seal"], 16) for row in rows)) % _MODULUS
    return Tail(tail.series_id, tail.count + len(rows), max(tail.last, *steps), seal)


def row_seal(connection: Connection, series_id: int) -> int:
    """Return what the row of a series adds to its seal."""
    return _of_row(next(seals.raw(connection, metric_series, series_id)))


def write(connection: Connection, tails: Iterable[Tail]) -> None:
    """Seal the series of these tails."""
    seals.write(connection, metric_series, {tail.series_id: f"{tail.seal:016x}" for tail in tails})


def seal_all(connection: Connection, columns: Collection[str]) -> None:
    """Seal every series, when a database gets seals; ``columns``: its columns by then."""
    sums = _sums(connection)
    series = {}
    for values in seals.raw(connection, metric_series, columns=columns):
        seal = _of_row(values) + _COVERS_TAIL + sums.get(values["id"], 0)
        series[values["id"]] = f"{seal % _MODULUS:016x}"
    seals.write(connection, metric_series, series)


def broken(connection: Connection) -> Iterator[tuple[str, str]]:
    """Do as `seals.broken`, for series with the points of their tails."""
    sums = _sums(connection)

    def holds(seal: str, values: Mapping[str, Any]) -> bool:
        row = _of_row(values)
        covered = (row + _COVERS_TAIL + sums.get(values["id"], 0)) % _MODULUS
        return seal in (f"{covered:016x}", f"{row:016x}")

    for key, what in seals.broken(connection, metric_series, holds):
        lost = ", or points of its tail were removed or added" if what == seals.CHANGED else ""
        yield key, what + lost


def _of_row(values: Mapping[str, Any]) -> int:
    return int(seals.digest(values), 16)


def _sums(connection: Connection) -> dict[int, int]:
    """Return the sum of the seals of the points of each tail, by series."""
    sums: dict[int, int] = {}
    query = select(metric_points.c.series_id, metric_points.c.seal)
    for series_id, seal in connection.execute(query):
        sums[series_id] = sums.get(series_id, 0) + _number(seal)
    return sums


def _number(point_seal: str | None) -> int:
    """Return what a point adds to the seal of its series; 0 if its own seal is damaged."""
    try:
        return int(point_seal or "0", 16)
    except ValueError:
        return 0
