"""Answers that open tabs share: what is requested again within a moment is made once.

An event makes every tab on a run ask for its live part, and most of them for the same one. It knows
no page and no database.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from flask import Response, current_app, request

from branchtrack.core.actors import Actor

#: Seconds for which an answer is given again, as long as its version stays the same.
MOMENT = 2.0
#: Answers that are kept, the most recent ones.
_MOST = 256
_KEY = "branchtrack-shared-answers"


@dataclass
class _Answer:
    """An answer, when it was begun and what its version was then; ``lock`` is held to make it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = float("-inf")
    version: Hashable = None
    content: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class SharedAnswers:
    """The answers of an application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()

    def get(
        self, key: Hashable, version: Callable[[], Hashable], make: Callable[[], Response]
    ) -> Response:
        """Return the answer for ``key``; whoever asks while it is made waits for it.

        ``version`` returns what determines the answer, but for what changes without notice.
        """
        answer = self._answer(key)
        with answer.lock:
            # Read before the answer is made, which then is as new at least.
            current, began = version(), time.monotonic()
            if answer.version != current or began - answer.began > MOMENT:
                response = make()
                answer.content = response.get_data(as_text=True)
                answer.headers = tuple(response.headers.items())
                answer.version, answer.began = current, began
            return Response(answer.content, headers=list(answer.headers))

    def _answer(self, key: Hashable) -> _Answer:
        with self._lock:
            answer = self._answers.setdefault(key, _Answer())
            self._answers.move_to_end(key)
            if len(self._answers) > _MOST:
                self._answers.popitem(last=False)
            return answer


def shared(actor: Actor, version: Callable[[], Hashable], make: Callable[[], Response]) -> Response:
    """Return the answer to the current request, which others of the actor may have made.

    Errors are raised, and not kept.
    """
    answers = current_app.extensions.setdefault(_KEY, SharedAnswers())
    headers = [request.headers.get(name) for name in ("HX-Target", "Cookie")]
    response: Response = answers.get((request.url, actor, *headers), version, make)
    return response
