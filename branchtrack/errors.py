"""Every error branchtrack raises on purpose, in one family.

    BranchtrackError
    ├── InvalidInput            field, value, allowed
    │   ├── CodeChanged         node, files, packages, diff
    │   ├── NameTaken           kind, name
    │   └── PortInUse           host, port
    ├── NotFound                kind, ref, near
    │   └── Ambiguous           kind, ref, matches
    ├── IllegalTransition       kind, before, after
    ├── BranchTaken             branch, process
    ├── HomeError               path
    │   ├── ReadOnlyHome
    │   └── UntrustedHome
    ├── SchemaError             url
    │   ├── DatabaseUnreadable
    │   ├── DatabaseForeign     tables
    │   ├── DatabaseInUse       branches
    │   ├── DatabaseMissing
    │   ├── DatabaseBehind      found, expected
    │   └── DatabaseAhead       found, expected
    ├── StorageError            the database or the disk failed while working
    ├── CheckpointError         node
    │   ├── CheckpointMissing   path
    │   ├── CheckpointDamaged   path, tensor
    │   ├── CheckpointMismatch  field, expected, found
    │   ├── CheckpointThinned   node, thinned
    │   │   └── NeverWhole
    │   └── RecordChanged       node
    ├── DataChanged             shard, source
    ├── RankLost                rank
    ├── NotLive                 branch, status
    ├── NotAnswered             request, waited
    ├── RequestFailed           request, state
    ├── Forbidden               actor, role
    ├── RateLimited             actor, limit
    ├── LaunchFailed            launch, exit_code, log
    ├── Unreachable             url
    └── ClusterUnreachable      cluster

Each message says what happened, what is safe and what to do next. It must not know about HTTP or
exit codes: `web/app.py` and `cli/main.py` each hold the one table from class to code.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any


class BranchtrackError(Exception):
    """An error that says what happened, what is safe and how to go on; further facts as attributes.

    ``what``, ``safe`` and ``fix`` are sentences; ``facts`` become attributes of the error.
    """

    def __init__(self, what: str, *, safe: str = "", fix: str = "", **facts: Any) -> None:
        what, safe, fix = (printable(text) for text in (what, safe, fix))
        super().__init__(" ".join(sentence for sentence in (what, safe, fix) if sentence))
        self.what, self.safe, self.fix, self.facts = what, safe, fix, facts
        for name, value in facts.items():
            setattr(self, name, value)


class InvalidInput(BranchtrackError):
    """A value that cannot be accepted; the message names the field and says what is allowed."""

    field: str
    value: Any
    allowed: str

    def __init__(
        self, field: str, value: Any, allowed: str, *, what: str = "", **facts: Any
    ) -> None:
        # An unknown field's name comes from the request, and may be of any length.
        field = printable(field)[:200]
        super().__init__(
            what or f"{field}: {shown(value)} is not accepted.",
            safe="Nothing was changed.",
            fix=f"Allowed: {allowed}.",
            field=field,
            value=value,
            allowed=allowed,
            **facts,
        )


class CodeChanged(InvalidInput):
    """A node would be continued by other code or packages than those that trained it.

    ``diff`` is the unified difference of the files as text; ``files`` and ``packages`` name what
    has changed.
    """

    def __init__(self, node: str, files: Sequence[str], packages: Sequence[str], diff: str) -> None:
        changed = ", ".join([*files, *packages][:8])
        more = len(files) + len(packages) - 8
        super().__init__(
            "allow_code_change",
            False,
            "true, to train with what is there now (--allow-code-change in the shell)",
            what=f"Not the same code as when node {node} was made: {changed}"
            + (f" and {more} more." if more > 0 else "."),
            node=node,
            files=list(files),
            packages=list(packages),
            diff=diff,
        )


class NameTaken(InvalidInput):
    """A run or branch of that name exists already."""

    def __init__(self, kind: str, name: str, free: str) -> None:
        super().__init__(
            "name",
            name,
            f"a name not yet used, for example {free!r}",
            what=f"A {kind} named {name!r} exists already.",
            kind=kind,
            name=name,
        )


class PortInUse(InvalidInput):
    """Another process already listens on that address."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            "port",
            port,
            f"a free port, for example --port {port + 1}, or --port 0 for any",
            what=f"Port {port} on {host} is already in use.",
            host=host,
            port=port,
        )


class NotFound(BranchtrackError):
    """Nothing has that name or id; ``near`` lists names that are similar."""

    def __init__(self, kind: str, ref: str, near: Sequence[str] = (), fix: str = "") -> None:
        # A metric may have any name, also one with line breaks in it.
        names = ", ".join(name if name.isprintable() and name else repr(name) for name in near)
        super().__init__(
            f"There is no {kind} {shown(ref)}.",
            fix=fix or (f"Did you mean: {names}?" if names else ""),
            kind=kind,
            ref=ref,
            near=tuple(near),
        )


class Ambiguous(NotFound):
    """An id prefix or a name that matches more than one thing."""

    def __init__(self, kind: str, ref: str, matches: Sequence[str]) -> None:
        fix = f"It could be any of: {', '.join(matches)}. Give more characters."
        super().__init__(kind, ref, matches, fix=fix)
        self.matches = tuple(matches)


class IllegalTransition(BranchtrackError):
    """A change of state that the life cycle of a run, request or launch does not allow."""

    def __init__(self, kind: str, before: str, after: str) -> None:
        super().__init__(
            f"A {kind} that is {before} cannot become {after}.",
            safe="Nothing was changed.",
            kind=kind,
            before=before,
            after=after,
        )


class BranchTaken(BranchtrackError):
    """Another process is training the branch that this process should continue."""

    def __init__(self, branch: str, process: str | None) -> None:
        host, pid = (process or "").split(":")[:2] if (process or "").count(":") > 1 else ("", "")
        who = f"process {pid} on {host}" if pid else "another process"
        super().__init__(
            f"The branch {branch} is being trained by {who}.",
            safe="Nothing was changed.",
            fix="Wait until it has ended, or begin a new run: without BRANCHTRACK_CONTINUE, "
            "resume= or resume_from_checkpoint=.",
            branch=branch,
            process=process,
        )


class HomeError(BranchtrackError):
    """The home folder cannot be created or written to."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"The home folder {path} cannot be used: {reason}.",
            safe="Nothing was changed.",
            fix="Use another one with --home or BRANCHTRACK_HOME, or fix its permissions.",
            path=path,
        )


class ReadOnlyHome(HomeError):
    """A home that can only be read."""

    def __init__(self, path: str) -> None:
        BranchtrackError.__init__(
            self,
            f"The home of {path} can only be read.",
            safe="Nothing was changed.",
            fix="Copy the folder to a writable place and name the copy with --home, or ask its "
            "owner.",
            path=path,
        )


class UntrustedHome(HomeError):
    """A home whose recorded commands this user has not allowed branchtrack to start."""

    path: str
    replaced: bool

    def __init__(self, path: str, *, replaced: bool = False, orders: Sequence[str] = ()) -> None:
        what = (
            f"The home {path} is not the one that was trusted: it or its database was replaced."
            if replaced
            else f"Nothing is started from the home {path}: this user has not trusted it."
        )
        queue = f" It would have started: {'; '.join(orders)}." if orders else ""
        BranchtrackError.__init__(
            self,
            what + queue,
            safe="Nothing was changed.",
            fix=f"`branchtrack --home {shlex.quote(path)} trust` shows what it would start, and "
            "asks.",
            path=path,
            replaced=replaced,
        )


class SchemaError(BranchtrackError):
    """The database's tables are not the ones this version works with."""


class DatabaseUnreadable(SchemaError):
    """What the URL names is not a database, or does not answer."""


class DatabaseForeign(SchemaError):
    """The database has tables, and they are not branchtrack's."""


class DatabaseMissing(SchemaError):
    """There is no branchtrack database at that address yet."""


class DatabaseBehind(SchemaError):
    """The database is older than this version; `branchtrack db upgrade` upgrades it."""


class DatabaseInUse(SchemaError):
    """Trainings are writing to the database, so its tables cannot be changed now."""


class DatabaseAhead(SchemaError):
    """The database was written by a newer version."""


class StorageError(BranchtrackError):
    """The database or the disk failed during an operation."""


class CheckpointError(BranchtrackError):
    """A checkpoint cannot be used."""


class CheckpointMissing(CheckpointError):
    """A pack file that a checkpoint needs is gone."""


class CheckpointDamaged(CheckpointError):
    """Bytes of a checkpoint do not match the digest that they were stored under."""


class CheckpointMismatch(CheckpointError):
    """The checkpoint does not fit the model or script that wants to load it."""


#: What is to be done with a node of which there is nothing but weights.
WEIGHTS_FIX = "Resume it in the mode weights (--mode weights): all else begins anew."


class CheckpointThinned(CheckpointError):
    """Retention has left only the recipe, or only the weights, of a checkpoint."""

    node: str
    thinned: str

    def __init__(self, node: str, thinned: str, fix: str = "") -> None:
        rebuild = f"`branchtrack rebuild {node}` trains it again, and compares it bit for bit."
        super().__init__(
            f"The checkpoint of node {node} was thinned: its {thinned} is left."
            if thinned == "recipe"
            else f"The checkpoint of node {node} was thinned: its weights alone are left.",
            safe="Nothing was changed.",
            fix=fix or (rebuild if thinned == "recipe" else WEIGHTS_FIX),
            node=node,
            thinned=thinned,
        )


class NeverWhole(CheckpointThinned):
    """A merge is to be resumed with its whole state: it has only ever had weights."""

    def __init__(self, node: str) -> None:
        BranchtrackError.__init__(
            self,
            f"Node {node} is a merge, which has weights and no other state.",
            safe="Nothing was changed.",
            fix=WEIGHTS_FIX,
            node=node,
            thinned="weights",
        )


class RecordChanged(CheckpointError):
    """The record of a node has changed since it was written."""


class DataChanged(BranchtrackError):
    """A shard of the data is not there any more, or not what it was when it was added."""

    shard: str
    source: str


class RankLost(BranchtrackError):
    """A process of a training with several left, or died, before it said what others wait for."""


class NotLive(BranchtrackError):
    """A request to a branch that no process is training."""


class NotAnswered(BranchtrackError):
    """The training process did not answer in time; the request stays recorded."""


class RequestFailed(BranchtrackError):
    """The training process answered that a request was rejected or failed."""


class Forbidden(BranchtrackError):
    """A known actor asked for something that its role does not allow."""

    actor: str
    role: str


class RateLimited(BranchtrackError):
    """A token has made as many requests as it may within a number of updates."""

    actor: str
    limit: int


class LaunchFailed(BranchtrackError):
    """A training process could not be started, or ended with an error."""


class ClusterUnreachable(BranchtrackError):
    """A cluster did not answer: whether it has carried out what was asked of it is not known."""

    cluster: str


class Unreachable(BranchtrackError):
    """A server did not answer a client."""

    url: str


def printable(text: str) -> str:
    """Return text that every reader and database accepts: no NUL, no unpaired surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def shown(value: Any, limit: int = 80) -> str:
    """Return the ``repr`` of a value, cut to a length that fits in a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        # It is nested too deeply, or is an integer of thousands of digits.
        text = f"that {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
