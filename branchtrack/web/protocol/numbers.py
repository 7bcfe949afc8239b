"""The numbers of events, each of which says how far its reader has come.

A reader asks for all from ``seq + 1`` on, so a number holds the position in the event log and that
in the metrics: nothing is lost or sent twice, also over a restart of the server. Numbers rise, and
not one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bits of a step, of a stretch (a segment's index), and of the events that one log entry becomes.
_STEP, _STRETCH, _PART = 26, 8, 4
MOST_PARTS = 1 << _PART


@dataclass(frozen=True, order=True)
class Cursor:
    """The newest log entry that was read and its part; stretch and step of the next point."""

    entry: int = 0
    part: int = 0
    stretch: int = 0
    step: int = 0

    @property
    def number(self) -> int:
        """The number of the event that brings its reader here."""
        high = self.entry << _PART | self.part
        stretch = min(self.stretch, (1 << _STRETCH) - 1)
        step = min(self.step, (1 << _STEP) - 1)
        return (high << _STRETCH | stretch) << _STEP | step

    @classmethod
    def before(cls, since: int) -> Cursor:
        """Return where a reader is who asks for the events from ``since`` on."""
        number = max(0, since - 1)
        step = number & (1 << _STEP) - 1
        stretch = number >> _STEP & (1 << _STRETCH) - 1
        high = number >> _STEP + _STRETCH
        return cls(high >> _PART, high & MOST_PARTS - 1, stretch, step)
