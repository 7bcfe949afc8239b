"""Who asks, and what each role may: the one table of permissions.

An actor is authenticated by whoever made it: the shell by the operating system, the server by a
token. Nothing here believes what a request says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from branchtrack.errors import Forbidden, InvalidInput, RateLimited

ROLES = ("viewer", "operator", "agent", "admin")
#: What a role may do beyond reading. An agent has to give a reason for everything it asks for, and
#: can cancel nothing but its own requests.
_STEER = frozenset(("request", "launch", "cancel"))
_MAY: Mapping[str, frozenset[str]] = {
    "viewer": frozenset(),
    "operator": _STEER,
    "agent": _STEER,
    "admin": _STEER | {"tokens"},
}
#: Updates of a run in which a token's ``limit`` of requests may be made.
WINDOW = 1000


@dataclass(frozen=True)
class Actor:
    """Who asks: ``name`` with its ``role``, and the ``channel`` by which it came.

    ``only`` are names or patterns of settings and actions (None: all), ``limit`` the requests that
    may be made in `WINDOW` updates of a run; both are a token's.
    """

    name: str
    role: str = "admin"
    channel: str = "shell"
    token_id: str | None = None
    only: Sequence[str] | None = None
    limit: int | None = None

    @property
    def label(self) -> str:
        """What records call it: the name, with the role of a token, or ``web`` for a browser."""
        if self.token_id is not None:
            return f"{self.name} ({self.role})"
        return f"{self.name} ({self.channel})" if self.channel != "shell" else self.name


def of(actor: Actor | str) -> Actor:
    """An actor from one, or from the name of somebody at the shell."""
    return actor if isinstance(actor, Actor) else Actor(actor)


def check(actor: Actor, deed: str, names: Iterable[str] = ()) -> None:
    """Refuse what an actor may not do, whatever its reason; `check_reason` looks at that.

    ``deed`` is ``request``, ``launch``, ``cancel`` or ``tokens``; ``names`` the settings that are
    to be changed, or the action's kind.

    Raises:
        Forbidden: the role has no such right, or the token is for other names.
    """
    if deed not in _MAY.get(actor.role, frozenset()):
        raise Forbidden(
            f"{actor.label} may look on, and not change anything."
            if actor.role == "viewer"
            else f"{actor.label} may not do this.",
            safe="Nothing was changed.",
            fix="Use a token of another role: `branchtrack token create NAME --role "
            f"{'admin' if deed == 'tokens' else 'operator'}`.",
            actor=actor.label,
            role=actor.role,
        )
    for name in names:
        if actor.only is not None and not any(fnmatchcase(name, pattern) for pattern in actor.only):
            raise Forbidden(
                f"The token of {actor.label} is not for {name}.",
                safe="Nothing was changed.",
                fix=f"It is for: {', '.join(actor.only)}.",
                actor=actor.label,
                role=actor.role,
            )


def check_reason(actor: Actor, reason: str) -> None:
    """Refuse a request or a launch for which an agent gives no reason.

    Raises:
        InvalidInput: there is none, or one without a letter or a digit.
    """
    if actor.role == "agent" and not any(character.isalnum() for character in reason):
        raise InvalidInput("reason", reason, "why: an agent says so with every request")


def check_limit(actor: Actor, count: int) -> None:
    """Refuse one request more than a token may make; it made ``count`` in the last `WINDOW`.

    Raises:
        RateLimited: with the limit.
    """
    if actor.limit is not None and count >= actor.limit:
        raise RateLimited(
            f"{actor.label} has made {count} requests in the last {WINDOW:,} updates of this run, "
            f"and may make {actor.limit}.",
            safe="Nothing was changed.",
            fix="Ask again when training has gone on.",
            actor=actor.label,
            limit=actor.limit,
        )


def names_of(kind: str, fields: Mapping[str, Any]) -> list[str]:
    """What of a token's ``only`` an intervention has to be in: settings by name, else its kind."""
    if kind == "set":
        return list(fields.get("values") or ())
    if kind == "act":
        return [str(fields.get("action"))]
    return [kind, *(fields.get("values") or ())]
