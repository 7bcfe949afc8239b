"""Rank 0's session among several: when the ranks meet, what they have seen, and who is lost.

`lead` has what is said at meetings; this is what a session needs of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.gate import Gate
from branchtrack.training.record.committer import Point
from branchtrack.training.record.ranks.joint import JointCommitter
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.session.ranks import connection
from branchtrack.training.session.ranks.lead import Lead
from branchtrack.training.steer import execution
from branchtrack.training.steer.answers import Answer
from branchtrack.training.steer.effects import Verdict

logger = logging.getLogger("branchtrack")

#: Seconds in which the training thread has to end by itself once a rank is gone.
_LOSS_SECONDS = 6.0
#: Seconds that rank 0 waits for what others have seen of an update that all have made.
_SEEN_SECONDS = 10.0
#: Seconds without progress of rank 0 after which a rank that waits for it elsewhere is lost, and
#: one that failed what rank 0 still carries out.
_STUCK_SECONDS, _FAILED_SECONDS = 15.0, 50.0
#: What scripts of ranks may request differently: their own part of the data, their own seed.
_OF_EACH_RANK = frozenset(("dataset_length", "seed"))
#: What pending requests wait for that only the loop can say, at each update.
_EACH_UPDATE = frozenset(("epoch", "metrics"))


class LedSession(Protocol):
    """What `Leading` uses of the session of rank 0."""

    recorder: Recorder | None
    meets_at_once: bool

    @property
    def stop_asked(self) -> bool:
        """Whether the loop should end."""

    @property
    def stop_step(self) -> int | None:
        """The step at which it is to stop; None for nowhere."""

    def own_branch(self) -> str | None:
        """Return the name of the branch, unless it is the one that its run began with."""

    def order_of_restart(self) -> dict[str, Any] | None:
        """Return what other ranks need to restart with this one; None if it does not."""

    def close(self, status: str, error: str | None = None) -> None:
        """End the segment."""


class Leading:
    """What the session of rank 0 does in addition."""

    def __init__(self, lead: Lead, session: LedSession) -> None:
        self._lead, self._session = lead, session
        self._closing = threading.Event()
        self._read: dict[int, int] = {}
        self._effects: dict[int, dict[int, Any]] = {}
        #: Whether rank 0 is at a control point.
        self.is_meeting = False
        self._progress = -1, False, time.monotonic()
        self._next_group: dict[str, str] | None = None

    @property
    def channel(self) -> Channel:
        """The channel to the other ranks."""
        return self._lead.channel

    @property
    def is_ended_elsewhere(self) -> bool:
        """Whether another rank received a signal that ends training."""
        return self._lead.signal is not None

    @property
    def signal_words(self) -> str:
        """Which signal another rank received, in words; empty if none did."""
        if self._lead.signal is None:
            return ""
        rank, name = self._lead.signal
        return f"{name} on rank {rank}"

    def check_alike(self, script: Mapping[str, Any] | None) -> None:
        """Refuse ranks whose script requests something else than rank 0's, before any record.

        Raises:
            InvalidInput: naming the first difference. RankLost: a rank could not begin.
        """
        for rank in self.channel.others:
            other = self.channel.take(f"script/{rank}", rank)
            for name in sorted({*(script or {}), *other} - _OF_EACH_RANK):
                own, its = (script or {}).get(name), other.get(name)
                if json.dumps(own) != json.dumps(its):
                    raise InvalidInput(
                        name,
                        its,
                        f"{own}, as on rank 0",
                        what=f"Rank {rank} begins with {name} {its}, and rank 0 with {own}: all "
                        "have to train alike.",
                    )

    def begin(self, step: int, *parts: Any) -> JointCommitter:
        """Let the others begin, and watch them; return the committer for all, made of ``parts``."""
        branch = self._session.own_branch()
        self.channel.post("begun", {"branch": branch})
        self._lead.gate = Gate(self.channel, step)
        self.channel.open(on_loss=self._lose, on_beat=self._look)
        return JointCommitter(self.channel, *parts)

    def is_due(self, step: int, *, save: bool) -> bool:
        """Return whether the ranks meet at ``step``; announce what follows if they do not."""
        assert self._lead.gate is not None
        if save or self._session.stop_asked or self._lead.gate.is_meeting(step):
            return True
        self._announce(step)
        return False

    def execute(self, request: Request, point: Point, run: Callable[[Request], Answer]) -> Answer:
        """Execute a request on every rank; its conditions are judged here alone."""
        self.is_meeting = True
        refused = execution.refusal(request, point.live, point.step)
        return refused or self._lead.execute(request, point.live, point.step, run)

    def go(
        self, step: int, *, ends: bool, evaluates: bool, commits: bool, held: bool, alike: bool
    ) -> None:
        """Say how training goes on from a meeting."""
        self.is_meeting = True
        restart = self._session.order_of_restart()
        if restart is not None:
            # A Trainer has a second meeting before it ends: all have to go to the same group.
            self._next_group = self._next_group or connection.next_group()
            restart["group"] = self._next_group
            os.environ.update(self._next_group)
        self._lead.go(
            step,
            held=held,
            stop=ends,
            evaluate=evaluates,
            commit=commits,
            alike=alike,
            restart=restart,
        )

    def end_meeting(self, step: int) -> None:
        """Let the others go that were held, and announce the next meeting."""
        self.is_meeting = False
        if self._lead.is_held:
            self._lead.go(step, stop=self._session.stop_asked)
        self._announce(step)

    def _announce(self, step: int) -> None:
        recorder, gate = self._session.recorder, self._lead.gate
        assert recorder is not None and gate is not None
        inbox, stop = recorder.inbox, self._session.stop_step
        wanted = bool(inbox.waiting or inbox.awaits & _EACH_UPDATE)
        known = min(inbox.next_step, math.inf if stop is None else stop)
        gate.announce(step, wanted=wanted, known=known)

    def seen_by_all(self, step: int, seen: dict[str, Any]) -> dict[str, Any] | None:
        """Return the content of update ``step`` on all ranks as one; None if one is missing."""
        others = self._lead.gathered(f"seen/{step}", _SEEN_SECONDS)
        return _together([seen, *(others.get(rank) for rank in self.channel.others)])

    def effect_on_all(
        self, verdicts: Sequence[Verdict], effective: dict[str, Any]
    ) -> tuple[list[Verdict], dict[str, Any]]:
        """Return verdicts as far as all ranks agree; one that does not makes them ineffective."""
        step, recorder = effective["step"], self._session.recorder
        assert recorder is not None
        if step not in self._effects:
            with recorder.off_database():
                self._effects = {step: self._lead.gathered(f"effect/{step}", _SEEN_SECONDS)}
        others = self._effects[step]
        for rank in self.channel.others:
            said = others.get(rank)
            if said is None or not said["obeyed"]:
                effective = {**effective, "obeyed": False, "verified": False}
            verdicts = [_agreed(verdict, rank, said) for verdict in verdicts]
        return list(verdicts), effective

    def closing(self, status: str, error: str | None) -> tuple[str, str | None]:
        """Note that the session ends; return its status and error with the rank that is lost."""
        self._closing.set()
        if status != "failed":
            # The others end at the same control point; what they logged last comes before that.
            self._lead.gathered("ended", _SEEN_SECONDS)
            for rank in self.channel.others:
                self._take_points(rank)
            return status, error or self.signal_words or None
        for rank in self.channel.others if not self._lead.lost else ():
            why = self.channel.absence(rank)
            if why:
                self._lead.lost = _words(rank, why)
        # What rank 0 itself ended with only follows from the loss of another.
        words = self._lead.lost or error
        self.channel.leave(words or "", failed=True)
        return status, words

    def leave(self, *, failed: bool) -> None:
        """End rank 0's part, once the others have ended theirs."""
        self._lead.leave("failed" if failed else "")

    def _look(self) -> None:
        """Look, about once a second, for what the others have to say by themselves."""
        recorder = self._session.recorder
        if recorder is None:
            return
        if self._lead.look():
            recorder.inbox.interrupt()
        self._look_for_stuck(recorder.step)
        for rank in self.channel.others:
            self._take_points(rank)

    def _look_for_stuck(self, step: int) -> None:
        """Lose a rank that waits where rank 0 does not come, or failed what rank 0 is still at.

        Rank 0 may be in a collective that never ends.
        """
        now = time.monotonic()
        if step != self._progress[0] or self.is_meeting != self._progress[1]:
            self._progress = step, self.is_meeting, now
        still = now - self._progress[2]
        for rank in self.channel.others if still > _STUCK_SECONDS and not self._lead.lost else ():
            waits = self.channel.peek(f"waits/{rank}")
            reply = self.channel.peek(f"reply/{self._lead.executing}/{rank}")
            # In between a Trainer evaluates, and calls what may take long on one rank alone.
            last = step if self._session.meets_at_once else step - 1
            if waits is not None and not self.is_meeting and waits <= last:
                why = f"it waits at step {waits}, where rank 0, now at step {step}, does not stop"
                self._lose(rank, f"{why}: all ranks need the same length and the same saves")
            elif reply is not None and reply["state"] == "failed" and still > _FAILED_SECONDS:
                self._lose(rank, f"it failed what rank 0 still carries out: {reply['error']}")

    def _take_points(self, rank: int) -> None:
        recorder = self._session.recorder
        assert recorder is not None
        while True:
            number = self._read.get(rank, 0) + 1
            points = self.channel.peek(f"points/{rank}/{number}")
            if points is None:
                return
            self._read[rank] = number
            self.channel.forget(f"points/{rank}/{number}")
            for step, values in points:
                recorder.log(step, values)

    def _lose(self, rank: int, why: str) -> None:
        """Record the end of a training that a rank is missing from, if it does not end by itself.

        Its thread may wait for that rank in a collective, from where nothing calls it back.
        """
        self._lead.lost = _words(rank, why)
        logger.error("branchtrack: rank %d is gone: %s. Training ends.", rank, why)
        if self._closing.wait(_LOSS_SECONDS):
            return
        self._session.close("failed", "It did not end by itself.")
        os._exit(1)


def _words(rank: int, why: str) -> str:
    return f"Rank {rank}: {why.rstrip('.')}."


def _agreed(verdict: Verdict, rank: int, said: Mapping[str, Any] | None) -> Verdict:
    if verdict.state != "verified":
        return verdict
    other = None if said is None else said["verdicts"].get(verdict.answer.request.id)
    if other is not None and other[0] == "verified":
        return verdict
    why = "it has not said what it used." if other is None else other[2]
    effective = {**verdict.effective, "verified": False, "rank": rank}
    if other is not None:
        effective["on_rank"] = other[1]
    return replace(verdict, state="ineffective", effective=effective, error=f"Rank {rank}: {why}")


def _together(seen: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return what ranks have seen of one update as one: digests of digests, losses in order."""
    known = [each for each in seen if each is not None]
    if len(known) < len(seen):
        return None
    first = known[0]
    before = [loss for each in known for loss in each["losses"][: each["before_step"]]]
    after = [loss for each in known for loss in each["losses"][each["before_step"] :]]
    return {
        **first,
        "batch": _digest([each["batch"] for each in known]),
        "losses": [*before, *after],
        "before_step": len(before),
        "weights": _digest([each["weights"] for each in known]),
    }


def _digest(digests: Sequence[str | None]) -> str | None:
    if None in digests:
        return None
    return hashlib.sha256("".join(map(str, digests)).encode()).hexdigest()
