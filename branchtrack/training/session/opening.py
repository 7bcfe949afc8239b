"""Which training a process continues, and from where: the session of each training it begins.

started for a launch, a trial       the requested training, by name and number: resumed
or a merge                          (a merge is evaluated and committed where it would begin)
                                    one before it: passed over, with its final state
                                    one after it: passed over, untrained
resume=NODE                         a new branch, in this process
resume="latest", the variable       the same branch again; a finished one is passed over
else                                a new run
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack import config as configuration
from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.control.store import spooled
from branchtrack.core.records import NewNode, Node, Run
from branchtrack.db import nodes, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering
from branchtrack.db.schema import prepare
from branchtrack.environment_variables import CONTINUE_VARIABLE
from branchtrack.errors import HomeError, InvalidInput, SchemaError, StorageError
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.record import commits, environment
from branchtrack.training.session import beginnings, continuation, ordinals, siblings
from branchtrack.training.session.base import Base, origin, reshuffles
from branchtrack.training.session.continuation import Line
from branchtrack.training.session.ordinals import Order, Process, Training
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.ranks import connection as ranks
from branchtrack.training.session.ranks import opening as rank_opening
from branchtrack.training.session.ranks.lead import Lead
from branchtrack.training.session.rewind import Rewinder
from branchtrack.training.session.session import Session
from branchtrack.training.session.unrecorded.merging import open_merge
from branchtrack.training.session.unrecorded.passed_over import (
    Ended,
    PassedOver,
    Refuse,
    before_another,
)
from branchtrack.training.session.unrecorded.replay import open_replay

logger = logging.getLogger("branchtrack")

#: Connections of a training to a database server, at most; its two threads keep two.
_CONNECTIONS = 6

LATEST = "latest"


@dataclass(frozen=True)
class Resumption:
    """Where the script itself asks to continue: ``node`` an id, a branch, or ``latest``.

    ``settings`` are changes as `branchtrack resume --set` takes them, ``mode`` one of
    `control.MODES`, and ``branch`` the name of the new branch.
    """

    node: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "exact"
    branch: str | None = None


def resumption(
    node: str | None,
    settings: Mapping[str, Any] | None,
    mode: str,
    branch: str | None,
    field_name: str = "resume",
) -> Resumption | None:
    """Return what a script's arguments request; None if they request nothing.

    Raises:
        InvalidInput: they do not go together.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise InvalidInput("set", settings, 'a dict of settings by name, for example {"lr": 1e-4}')
    changes = {"set": settings or None, "branch": branch, "mode": None if mode == "exact" else mode}
    arguments = [name for name, value in changes.items() if value is not None]
    if node is not None and (not isinstance(node, str) or not node):
        raise InvalidInput(field_name, node, f'the id of a node, RUN/BRANCH, or "{LATEST}"')
    if arguments and node in (None, LATEST):
        raise InvalidInput(
            arguments[0],
            changes[arguments[0]],
            f"{arguments[0]}= together with {field_name}=NODE",
            what=f"{arguments[0]} says how to continue from a node, but {field_name} is not set.",
        )
    return None if node is None else Resumption(node, dict(settings or {}), mode, branch)


def open_session(
    name: str | None, resume: Resumption | None = None, *, output: str | None = None
) -> TrainingSession:
    """Return the session of a training that this process begins; see the table above.

    ``name`` is the requested name of the run, ``output`` the folder that the script writes to.

    Raises:
        HomeError, SchemaError, StorageError, CheckpointError, NotFound, InvalidInput: before any
            training; the first three only if what to continue cannot be determined, or with
            ``BRANCHTRACK_REQUIRE=1``. Otherwise the run is recorded as soon as it can be.
        BranchTaken: another process trains the branch to continue.
        LaunchFailed: a training before the requested one cannot be passed over.
    """
    channel = ranks.connect()
    if channel is None:
        return _checked(_open(name, resume, output))
    order = ordinals.this_process().order
    if order is not None and order.trial is not None:
        # Each rank compares what it holds.
        return _open(name, resume, output, channel=channel)
    if not channel.leads:
        return rank_opening.follow(channel, name or environment.script_name())
    lead = Lead(channel)
    try:
        lead.wait_for_all(rank_opening.BEGIN_SECONDS)
        session = _checked(_open(name, resume, output, lead))
        rank_opening.tell(channel, session)
    except BaseException as error:
        channel.leave(str(error), failed=True)
        raise
    return session


def _checked(session: TrainingSession) -> TrainingSession:
    """Return a session, unless as many processes as its node continues with were not started."""
    if session.records and session.base is not None and session.base.mode == "exact":
        try:
            ranks.check_size(session.base.fork.settings)
        except InvalidInput as error:
            session.close("failed", str(error))
            raise
    return session


def _open(
    name: str | None,
    resume: Resumption | None,
    output: str | None,
    lead: Lead | None = None,
    channel: Channel | None = None,
) -> TrainingSession:
    """Return the session of this process, which with a ``lead`` is that of all ranks.

    ``channel``: it is one of several, each of which opens its own.
    """
    settings = configuration.load()
    process = ordinals.this_process()
    training = process.next(name or environment.script_name())
    database = Database(settings.database_url, connections=_CONNECTIONS)
    store = open_store(settings.store)
    opening = _Opening(database, store, process, training, output, lead, channel)
    opens = partial(prepare, database, settings, create=True)
    try:
        try:
            opens()
            opening.finish_spools(resume)
            session = opening.session(resume)
        except (HomeError, SchemaError, StorageError):
            if opening.needs_record(resume) or configuration.is_required():
                raise
            # The code that records the run reports this error, and tries again.
            session = opening.new_run()
            session.prepare = opens
        return session
    except BaseException:
        database.close()
        raise


@dataclass
class _Opening:
    database: Database
    store: Store
    process: Process
    training: Training
    output: str | None
    lead: Lead | None = None
    channel: Channel | None = None

    def needs_record(self, resume: Resumption | None) -> bool:
        """Return whether what to train is unknown while the record cannot be read."""
        ordered = self.process.order is not None or self.process.alone
        return ordered or resume is not None or continuation.is_asked_for()

    def finish_spools(self, resume: Resumption | None) -> None:
        """Upload what processes left on this machine, before anything is continued from it."""
        if self.needs_record(resume):
            try:
                self._finish_spools()
            except StorageError:
                if self.process.order is None and not self.process.alone:
                    raise
                # Which node it begins with is known; the committer tries again.
                logger.warning("branchtrack: commits that wait here cannot be uploaded yet.")

    def _finish_spools(self) -> bool:
        words = spooled.finish(self.database, self.store)
        if words:
            logger.warning("branchtrack: %s", words)
        return bool(words)

    def session(self, resume: Resumption | None) -> TrainingSession:
        if self.process.order is not None:
            return self._ordered(self.process.order)
        if self.process.alone:
            return self._later()
        if resume is not None and resume.node != LATEST:
            return self._in_new_branch(resume)
        return self._of_command(resume is not None)

    @property
    def _home(self) -> Path:
        return self.store.home

    def _ordered(self, order: Order) -> TrainingSession:
        """Return the training that the process was started for, or one that comes before it."""
        try:
            with self.database.read() as connection:
                run, node = siblings.target(connection, order)
                others = siblings.of_process(connection, run)
            if not siblings.is_meant(self.training, run, others):
                return self._earlier(order, run, node, others)
            self.process.order, self.process.alone = None, order.alone
            self.process.id = run.training.get("process", self.process.id)
            if order.trial is not None:
                return open_replay(self.database, self.store, order.trial, self.channel)
            if order.merge is not None:
                return open_merge(self.database, self.store, order.merge)
            return self._launched(order)
        except BaseException as error:
            self._ended(order, "failed", error)
            raise

    def _launched(self, order: Order) -> TrainingSession:
        with self.database.read() as connection:
            launch = launches.get(connection, order.launch or "")
            base = _base(
                connection,
                self.store,
                nodes.get(connection, launch.fork_node_id),
                launch.mode,
                strict=launch.strict,
            )
            is_first = runs.get_branch(connection, launch.branch_id).start_node_id is None
        beginning = beginnings.Launched(launch, self._home, is_first)
        started_by = (launch.id, order.rewind) if order.rewind else None
        return Session(self.database, self.store, base, beginning, started_by, self.lead)

    def _earlier(self, order: Order, run: Run, node: Node, others: list[Run]) -> TrainingSession:
        """Pass over a training that comes before the requested one."""
        earlier_run = siblings.same(self.training, others)
        refuse = partial(before_another, str(self.training), node.id)
        if earlier_run is None:
            raise refuse("it has no run in the record.")
        with self.database.read() as connection:
            line = continuation.line_of_run(connection, earlier_run)
        if line is None or line.head is None or line.head.kind != "final":
            raise refuse(f"its run {earlier_run.name} has no final node to restore it from.")
        logger.warning(
            "branchtrack: %s is passed over with the final state of run %s (node %s): this "
            "process was started for %s. Variables set by its loop are not restored.",
            self.training,
            earlier_run.name,
            line.head.id,
            run.name,
        )
        return self._passed_over(line, refuse, partial(self._told_end, order))

    def _later(self) -> TrainingSession:
        """Pass over, untrained, a training that comes after the requested one."""
        logger.warning(
            "branchtrack: %s is not trained: this process was started only for the training "
            "before it.",
            self.training,
        )
        return PassedOver(self.database, self.store, None, str(self.training))

    def _passed_over(
        self, line: Line, refuse: Refuse | None = None, ended: Ended | None = None
    ) -> TrainingSession:
        assert line.head is not None
        with self.database.read() as connection:
            stored = nodes.checkpoint(connection, line.head.state_digest)
        rank = 0 if self.channel is None else self.channel.rank
        base = Base(line.head, commits.load(self.store, stored, line.head, rank), line.head)
        return PassedOver(
            self.database, self.store, base, str(self.training), line.segment, refuse, ended
        )

    def _in_new_branch(self, resume: Resumption) -> TrainingSession:
        with self.database.read() as connection:
            node = nodes.find(connection, resume.node)
        control.verify_record(self.database, node)
        with self.database.read() as connection:
            changes = control.check_here(
                connection, node, resume.settings, resume.mode, resume.branch
            )
            mode = control.mode_in_force(node, resume.mode)
            actor = f"run ({control.local_actor()})"
            planned = ordering.fork_of(node, changes, mode, actor, "")
            base = _base(connection, self.store, _planned(planned), mode)
            name = resume.branch or runs.suggested_name(connection, node)
        control.check_parts(changes, base.snapshot.tensors)
        beginning = beginnings.NewBranch(
            node, changes, mode, name, self.training, self._home, self.output
        )
        return Session(self.database, self.store, base, beginning, lead=self.lead)

    def _of_command(self, says_so: bool) -> TrainingSession:
        """Return the session that continues what the command began if requested, else a new run."""
        goes_on = says_so or continuation.is_asked_for()
        with self.database.read() as connection:
            line = continuation.line_of_command(connection, self.training, self._home)
            if line is None and says_so:
                line = continuation.line_of_site(connection, self.training, self._home, self.output)
        if not goes_on:
            if line is not None and line.head and not (line.is_finished or line.is_live):
                logger.warning("branchtrack: %s", continuation.hint(line))
            return self.new_run()
        if line is not None:
            line = continuation.wait_until_free(self.database, line)
        if line is not None and self._finish_spools():
            # The process that was waited for has left commits.
            with self.database.read() as connection:
                line = continuation.line_of_run(connection, line.run)
        if line is None or line.head is None:
            logger.warning(
                "branchtrack: there is nothing of %s to continue yet: a new run begins.",
                self.training,
            )
            return self.new_run()
        self.process.id = line.run.training.get("process", self.process.id)
        if line.is_finished or self._was_left(line):
            logger.warning(
                "branchtrack: %s is finished, and is not trained again: the script continues with "
                "its final state. For a new run, start it without %s.",
                line,
                "asking to continue" if says_so else CONTINUE_VARIABLE,
            )
            return self._passed_over(line)
        return self._in_same_branch(line, line.head)

    def _was_left(self, line: Line) -> bool:
        """Return whether the script trained something else after stopping this: it was done."""
        stopped = line.head is not None and line.head.kind == "final"
        if not stopped or environment.is_interactive():
            return False
        with self.database.read() as connection:
            others = siblings.of_process(connection, line.run)
        return any(other.training["number"] > line.run.training["number"] for other in others)

    def _in_same_branch(self, line: Line, head: Node) -> TrainingSession:
        control.verify_record(self.database, head)
        logger.warning("branchtrack: continuing %s.", line)
        mode = control.mode_in_force(head, control.default_mode(head))
        why = f"Continued the branch, which was {line.status}."
        planned = ordering.fork_of(head, {}, mode, "", why)
        with self.database.read() as connection:
            base = _base(connection, self.store, _planned(planned), mode)
        beginning = beginnings.SameBranch(line.branch, line.segment, head, planned)
        return Session(self.database, self.store, base, beginning, lead=self.lead)

    def new_run(self) -> Session:
        """Return the session of a new run."""
        beginning = beginnings.NewRun(self.training, self._home, self.output)
        return Session(self.database, self.store, None, beginning, lead=self.lead)

    def _told_end(self, order: Order, status: str, error: str | None) -> None:
        if status == "failed":
            self._ended(order, status, error)

    def _ended(self, order: Order, status: str, error: BaseException | str | None) -> None:
        """Record how a rewind ended that no worker watches."""
        if order.rewind is not None and order.launch is not None:
            rewinder = Rewinder(self.database, self.store, "run", (order.launch, order.rewind))
            rewinder.record_end(status, error)


def _base(
    connection: Connection, store: Store, fork: Node, mode: str, *, strict: bool = False
) -> Base:
    """Read back what a session resumes; ``fork`` may not be in the record yet."""
    need = "weights" if mode == "weights" else "all"
    stored = nodes.checkpoint(connection, fork.state_digest, need=need)
    trained, overrides = origin(connection, fork)
    script = segments.get(connection, trained.segment_id).script
    redrawn = reshuffles(connection, fork)
    snapshot = commits.load(store, stored, fork)
    return Base(fork, snapshot, trained, mode, overrides, script, strict, redrawn)


def _planned(new: NewNode) -> Node:
    return Node(seq=0, id="", created_at=0.0, **vars(new))
