"""What a session expects of the next update, and what the update is seen to have done.

A loop calls `before_update`, `after_update` and `finish_update`, or reads by itself and calls
`settle`. All I/O is the recorder's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from branchtrack.checkpoints.packs import Store
from branchtrack.core import restores
from branchtrack.core.builtin_settings import DIRECTIVES
from branchtrack.core.records import Node
from branchtrack.db import nodes, requests
from branchtrack.db.engine import Database
from branchtrack.errors import IllegalTransition
from branchtrack.training.record.jobs import Job
from branchtrack.training.session import restoration
from branchtrack.training.session.base import Base, BaseSession
from branchtrack.training.session.proof import Witness
from branchtrack.training.session.restoration import Reference
from branchtrack.training.settings import apply
from branchtrack.training.settings.apply import Live
from branchtrack.training.steer import effects
from branchtrack.training.steer.answers import Expectation
from branchtrack.training.steer.effects import Probe, Verdict

logger = logging.getLogger("branchtrack")


class UpdateRecorder(Protocol):
    """What observing updates needs of a recorder."""

    step: int

    def do(self, job: Job) -> None:
        """Queue ``job`` for a thread."""

    def after_nodes(self, job: Job) -> None:
        """Queue ``job`` after the nodes of all commits before it."""


class UpdateCommitter(Protocol):
    """What observing updates needs of a committer."""

    def prepare(self, live: Live) -> None:
        """Allocate the memory of snapshots, once optimizers have their state."""


class Ranks(Protocol):
    """What all processes of a training with several make of what this one has seen."""

    def seen_by_all(self, step: int, seen: dict[str, Any]) -> dict[str, Any] | None:
        """Return the content of update ``step``; None if one has not said it."""

    def effect_on_all(
        self, verdicts: Sequence[Verdict], effective: dict[str, Any]
    ) -> tuple[list[Verdict], dict[str, Any]]:
        """Return the verdicts on changes as far as all agree."""


class Updates(BaseSession):
    """The part of a session that observes updates; ``expecting`` holds what to observe next.

    ``witness`` watches the first update after a node. ``reference`` is what the first of a resume
    is compared with, and ``strict`` says that training ends if they differ.
    """

    def __init__(self, database: Database, store: Store, base: Base | None) -> None:
        super().__init__(database, store, base)
        self.reference: Reference | None = None
        self.strict = False
        self.recorder: UpdateRecorder | None = None
        self._compared: str | None = None
        self._used: tuple[int, list[dict[str, Any]]] | None = None
        self._probe: Probe | None = None
        self._committer: UpdateCommitter | None = None
        self._ranks: Ranks | None = None

    def expect_restored(self, base: Base, live: Live) -> None:
        """Expect of the first update what the resumed node has, and compare it with the node's own
        continuation.
        """
        fork, is_exact = base.fork, base.mode == "exact"
        changed = {change.name: change.after for change in fork.changes}
        parts = restores.restored_parts(bool(live.schedulers), changed)
        if not is_exact:
            parts = {**dict.fromkeys(parts, "reset"), "weights": "restored"}
            overridden = [name for name in base.overrides if name not in DIRECTIVES]
            parts |= dict.fromkeys(overridden, "replaced")
        parts |= base.parts
        expected = apply.expected(live, fork.settings if is_exact else base.overrides)
        self.expecting = Expectation(expected, apply.read_groups(live), [], parts, [fork])
        self.reference = self._reference(fork, weights_only=not is_exact)
        self.strict = base.strict
        self.watch([fork] if is_exact else [])

    def _reference(self, fork: Node, *, weights_only: bool) -> Reference | None:
        with self._database.read() as connection:
            return restoration.reference(connection, fork, weights_only=weights_only)

    def _seen_by_all(self, step: int, seen: dict[str, Any]) -> dict[str, Any] | None:
        """Return what all processes have seen of update ``step``; None if one has not said it."""
        return seen if self._ranks is None else self._ranks.seen_by_all(step, seen)

    @property
    def is_reading(self) -> bool:
        """Whether `before_update` has read something that `after_update` is to compare."""
        return self._used is not None

    def before_update(self, live: Live, step: int) -> None:
        """Read back what update ``step`` is about to use, between backward and the update."""
        if self.expecting is not None and self.recorder is not None:
            self._used = step, [{**live.fixed, **apply.used(live)}]
            self.probe.before(live)
            self.expecting.spare(apply.unused(live))

    def after_update(self, live: Live) -> None:
        """Read back again right after the update: an optimizer may change its settings in it."""
        if self._used is not None:
            step, readings = self._used
            self.probe.after(live)
            self._used = step, [readings[0], {**readings[0], **apply.in_force(live)}]

    def finish_update(self, live: Live) -> None:
        """Report what the update made of its expectations, if it was read."""
        if self._used is not None:
            (step, readings), self._used = self._used, None
            self.settle(step, readings, live)

    def watch(self, durable_nodes: list[Node], *, alike: bool = False) -> None:
        """Watch the next update: it is the first after the nodes ``durable_nodes``.

        ``alike``: it is still the first after those of the earlier watch, too.
        """
        before = self.witness
        if before is not None:
            before.detach()
        self.witness = Witness(durable_nodes, before if alike else None)

    def prove(self, step: int, live: Live) -> None:
        """Record the content of update ``step`` if it is the first after a node.

        Raises:
            CheckpointMismatch: it differs from the node's own continuation, and training is to
                end there.
        """
        witness, self.witness = self.witness, None
        if witness is None or self.recorder is None:
            return
        numbers: dict[str, Any] = {}
        with suppress(Exception):
            # An error in the script's objects while they are inspected must not affect training.
            numbers = live.attributes.numbers() if live.attributes is not None else {}
        seen = self._seen_by_all(step, witness.close(step, numbers, live.model))
        reference, self.reference = self.reference, None
        if seen is None:
            # Nothing is proved of an update that is known in part.
            return
        compared = None
        if reference is not None:
            options = {name for group in live.groups for name in group}
            compared = reference.compare(seen, options, self.unrestored, self.not_restored)
            self._compared = compared["state"]
        self.recorder.after_nodes(lambda: self._record_proof(witness, seen, compared, reference))
        if reference is not None and compared is not None and compared["state"] == "differs":
            self._differs(reference, compared)

    def _differs(self, reference: Reference, compared: dict[str, Any]) -> None:
        if self.strict:
            raise restoration.refusal(compared, reference.node)
        logger.warning(
            "branchtrack: this training does not continue as node %s did: %s",
            reference.node.id,
            restores.differences(compared),
        )

    def _record_proof(
        self,
        witness: Witness,
        seen: dict[str, Any],
        compared: dict[str, Any] | None,
        reference: Reference | None,
    ) -> None:
        node_ids = [node.id for node in witness.nodes]
        with self._database.transaction() as connection:
            restoration.record(connection, node_ids, seen, compared, reference, self.actor)

    @property
    def probe(self) -> Probe:
        """Return a probe that compares the coming update with one without a change."""
        if self._probe is None or self._probe.expected is not self.expecting:
            assert self.expecting is not None
            self._probe = Probe(self.expecting)
        return self._probe

    def settle(self, step: int, readings: Sequence[Mapping[str, Any]], live: Live) -> None:
        """Record what update ``step`` made of the settings that were expected of it.

        ``readings``: the values read before it, after it and whenever the loop read them.
        """
        expected, self.expecting, self._probe = self.expecting, None, None
        if expected is None or self.recorder is None:
            return
        # By now all of the resumed node has been restored.
        self.release_snapshot()
        verdicts = effects.verdicts(expected, readings, step, live)
        obeyed = effects.obeyed(expected.settings, expected, readings)
        verified: bool | None = obeyed
        if expected.restored is not None:
            expected.restored |= dict.fromkeys(self.not_restored, "not stored")
        if obeyed and expected.restored is not None:
            # Nothing is claimed about a restore that could not be compared.
            looked_at = {"equal": True, "explained": True, "differs": False}
            verified = looked_at.get(self._compared or "")
        effective = {"step": step, "verified": verified, "obeyed": obeyed}
        effective |= apply.worth_recording(live, readings[-1], expected.settings)
        self.recorder.after_nodes(lambda: self._record_effect(expected, verdicts, effective))
        # By now the optimizers have their state.
        assert self._committer is not None
        self._committer.prepare(live)

    def _record_effect(
        self, expected: Expectation, verdicts: list[Verdict], effective: dict[str, Any]
    ) -> None:
        if self._ranks is not None:
            verdicts, effective = self._ranks.effect_on_all(verdicts, effective)
        with self._database.transaction() as connection:
            for node in expected.nodes:
                nodes.set_effective(connection, node.id, effective, expected.restored)
            for verdict in verdicts:
                if verdict.answer.state == "applied":
                    with suppress(IllegalTransition):
                        requests.move(
                            connection,
                            verdict.answer.request.id,
                            verdict.state,
                            actor=self.actor,
                            run_id=verdict.answer.request.run_id,
                            effective=verdict.effective,
                            error=verdict.error,
                        )
