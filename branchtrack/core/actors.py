"""Actors and what each role may do: the one table of permissions.

The creator of an actor has authenticated it: the shell by the operating system, the server by a
token. Nothing here trusts what a request claims about itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from branchtrack.errors import Forbidden, InvalidInput, RateLimited

ROLES = ("viewer", "operator", "agent", "admin")
#: What a role may do beyond reading. An agent has to give a reason for every request, and can
#: cancel only its own requests.
_STEER = frozenset(("request", "launch", "cancel"))
_MANAGE = frozenset(("retain", "label", "delete", "decide"))
_RULE = frozenset(("purge", "tokens", "launchers"))
_MAY: Mapping[str, frozenset[str]] = {
    "viewer": frozenset(),
    "operator": _STEER | _MANAGE,
    "agent": _STEER,
    "admin": _STEER | _MANAGE | _RULE,
}
#: The number of a run's updates to which a token's ``limit`` of requests applies.
WINDOW = 1000


@dataclass(frozen=True)
class Actor:
    """A requester: ``name`` with its ``role``, and the ``channel`` of its requests.

    ``only`` are names or patterns of settings and actions (None: all), ``limit`` the requests that
    it may make in `WINDOW` updates of a run; both are a token's. ``agent_id`` is the row of a
    policy or a language model that asks.
    """

    name: str
    role: str = "admin"
    channel: str = "shell"
    token_id: str | None = None
    only: Sequence[str] | None = None
    limit: int | None = None
    agent_id: str | None = None

    @property
    def label(self) -> str:
        """The name in records, with the role of a token, or ``web`` for a browser."""
        if self.token_id is not None:
            return f"{self.name} ({self.role})"
        return f"{self.name} ({self.channel})" if self.channel != "shell" else self.name


def of(actor: Actor | str) -> Actor:
    """Return the actor, or an actor for the name of a user at the shell."""
    return actor if isinstance(actor, Actor) else Actor(actor)


def deeds(role: str) -> list[str]:
    """Return what a role may do beyond reading."""
    return sorted(_MAY.get(role, ()))


def check(actor: Actor, deed: str, names: Iterable[str] = ()) -> None:
    """Refuse what an actor may not do, whatever its reason; `check_reason` checks that.

    ``deed`` is ``request``, ``launch``, ``cancel``, ``retain`` (policies, sweeps and pins),
    ``label``, ``delete`` (into the trash), ``decide`` (on proposals, and about agents), ``purge``,
    ``tokens`` or ``launchers``; ``names`` the settings that are to be changed, or the action's
    kind.

    Raises:
        Forbidden: the role has no such right, or the token is for other names.
    """
    if deed not in _MAY.get(actor.role, frozenset()):
        raise Forbidden(
            f"{actor.label} may read, but not change anything."
            if actor.role == "viewer"
            else f"{actor.label} may not do this.",
            safe="Nothing was changed.",
            fix="Use a token of another role: `branchtrack token create NAME --role "
            f"{'admin' if deed in _RULE else 'operator'}`.",
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


def check_author(actor: Actor, author: str, deed: str, own: str) -> None:
    """Do not let an agent cancel what it did not make; ``deed`` is ``order launch a1b2``.

    ``own`` names what it can cancel: ``launches``.

    Raises:
        Forbidden: the actor is an agent and not the author.
    """
    if actor.role == "agent" and author != actor.label:
        raise Forbidden(
            f"{actor.label} did not {deed}.",
            safe="Nothing was changed.",
            fix=f"An agent can cancel its own {own}.",
            actor=actor.label,
            role=actor.role,
        )


def check_reason(actor: Actor, reason: str) -> None:
    """Refuse a request or a launch of an agent without a reason.

    Raises:
        InvalidInput: there is none, or it has no letter or digit.
    """
    if actor.role == "agent" and not any(character.isalnum() for character in reason):
        raise InvalidInput("reason", reason, "a reason: an agent needs one for every request")


def check_limit(actor: Actor, count: int) -> None:
    """Refuse a request above a token's limit; it made ``count`` in the last `WINDOW`.

    Raises:
        RateLimited: with the limit.
    """
    if actor.limit is not None and count >= actor.limit:
        raise RateLimited(
            f"{actor.label} has made {count} requests in the last {WINDOW:,} updates of this run, "
            f"and may make {actor.limit}.",
            safe="Nothing was changed.",
            fix="Try again when training has advanced.",
            actor=actor.label,
            limit=actor.limit,
        )
