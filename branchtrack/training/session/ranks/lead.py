"""What rank 0 says to the others at a meeting: what to carry out, and how training goes on.

All carry out the same request after the same update, and say what came of it. If one of them
disagrees, a changed setting is put back on every rank before training goes on: ranks that train
with different settings would be worse than a request that failed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from branchtrack.core.interventions import SETTING_KINDS
from branchtrack.core.records import Request
from branchtrack.errors import RankLost
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.gate import Gate
from branchtrack.training.session.ranks import messages
from branchtrack.training.settings import rollback
from branchtrack.training.settings.live import Live
from branchtrack.training.settings.registry import current
from branchtrack.training.steer.answers import Answer

logger = logging.getLogger("branchtrack")

#: Seconds after which it is said that a rank has not begun.
_PATIENCE = 20.0
#: Seconds that rank 0 waits at the end for the others to have read what it said last.
_END_SECONDS = 15.0


class Lead:
    """Rank 0's side of all meetings of one training.

    ``signal`` is what another rank has received: (rank, name of the signal). ``lost`` says which
    rank is gone, and why. ``is_held`` is true while the others wait for what comes next, and
    ``is_over`` once they were told to end. ``executing`` is the number of what is being carried
    out, 0 if nothing is.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.gate: Gate | None = None
        self.signal: tuple[int, str] | None = None
        self.lost = ""
        self.is_held = self.is_over = False
        self.executing = 0
        self._number = 0
        self._undo = False

    def wait_for_all(self, seconds: float) -> None:
        """Wait until every rank has begun this training.

        Raises:
            RankLost: one has not.
        """
        for rank in self.channel.others:
            try:
                self.channel.wait(f"peer/{rank}", rank, seconds=min(seconds, _PATIENCE))
            except RankLost:
                logger.warning(
                    "branchtrack waits for rank %d: every rank has to begin this training, by "
                    "branchtrack.start(...) or train().",
                    rank,
                )
                self.channel.wait(f"peer/{rank}", rank, seconds=seconds)

    def execute(
        self, request: Request, live: Live, step: int, run: Callable[[Request], Answer]
    ) -> Answer:
        """Have every rank carry out a request; ``run`` does so here. The answer is that of all."""
        if self.is_over:
            # The others are ending; nothing that is changed now trains anything.
            return run(request)
        is_setting = request.kind in SETTING_KINDS
        put_back = rollback.keep_state(live, current(live)) if is_setting else None
        number = self.executing = self._say({"do": messages.request_to_json(request), "step": step})
        try:
            answer = run(request)
        finally:
            self.executing = 0
        own = messages.reply_of(answer)
        differing = ""
        for rank in self.channel.others:
            reply = self._reply(number, rank)
            if not _agree(own, reply):
                differing = differing or f"Rank {rank}: {reply['error'] or reply['state']}"
        if differing and own["state"] in ("applied", "done"):
            answer.state, answer.error = "failed", differing
            if put_back is not None:
                put_back()
                answer.settings, answer.applied, self._undo = {}, None, True
                answer.error += " The setting was put back on every rank."
        return answer

    def go(self, step: int, *, held: bool = False, stop: bool = False, **how: Any) -> None:
        """Say how training goes on from this meeting; see `follower.FollowerSession`."""
        if not self.is_over:
            self.is_held, self.is_over = held, stop
            self._say({"go": {"held": held, "stop": stop, **how}, "step": step})

    def leave(self, why: str = "") -> None:
        """End this side: unless something went wrong, once the others have ended theirs."""
        if not why and not self.lost:
            for rank in self.channel.others:
                try:
                    self.channel.wait(f"left/{rank}", rank, seconds=_END_SECONDS)
                except RankLost:
                    break
        self.channel.leave(why)

    def look(self) -> bool:
        """Look for what other ranks have to say by themselves; return whether there is anything."""
        for rank in self.channel.others if self.signal is None else ():
            name = self.channel.peek(f"signal/{rank}")
            if name is not None:
                self.signal = rank, name
                return True
        return False

    def gathered(self, key: str, seconds: float) -> dict[int, Any]:
        """Return what the other ranks have written under ``key``, without those that have not."""
        values: dict[int, Any] = {}
        for rank in self.channel.others:
            try:
                values[rank] = self.channel.take(f"{key}/{rank}", rank, seconds=seconds)
            except RankLost:
                continue
        return values

    def _say(self, message: dict[str, Any]) -> int:
        self._number += 1
        undo, self._undo = self._undo, False
        self.channel.post(f"say/{self._number}", {**message, "undo": undo})
        # Long read by all: replies to later ones have come.
        self.channel.forget(f"say/{self._number - 1000}")
        return self._number

    def _reply(self, number: int, rank: int) -> Mapping[str, Any]:
        try:
            reply: Mapping[str, Any] = self.channel.take(f"reply/{number}/{rank}", rank)
        except RankLost as error:
            self.lost = self.lost or str(error)
            return {"state": "lost", "error": error.what, "applied": None}
        return reply


def _agree(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two ranks did the same; as text, in which NaN equals NaN."""
    names = ("state", "applied")
    return all(
        json.dumps(own[n], sort_keys=True) == json.dumps(other[n], sort_keys=True) for n in names
    )
