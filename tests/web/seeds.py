"""Trees for tests of pages, grown through the real database functions and the real store.

What a training process would write is written here with numbers from formulas; nothing is faked
below that.
"""

from __future__ import annotations

import math
import time
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from branchtrack import control
from branchtrack.checkpoints.manifest import Entry, Manifest, TensorBytes, tensor_digest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import BUILT_IN, DROPOUT, MAX_STEPS
from branchtrack.core.capabilities import Action, Capabilities
from branchtrack.core.names import new_id
from branchtrack.core.records import (
    Branch,
    Certificate,
    Change,
    Launch,
    NewNode,
    Node,
    Run,
    Segment,
)
from branchtrack.core.settings import Setting
from branchtrack.core.shards.composition import SETTING as SHARDS
from branchtrack.core.shards.composition import Composition, Shard
from branchtrack.db import certificates, metrics, nodes, requests, runs, segments, tables
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, ordering
from branchtrack.db.storage import texts
from branchtrack.db.watching import agents as agent_rows
from branchtrack.db.watching import alerts as alert_rows
from tests.db.watching.rows import add_agent, add_exchange

SETTINGS = {"lr": 5e-3, "weight_decay": 0.01, "max_grad_norm": 1.0}
GROUPS = [
    {"lr": 5e-3, "initial_lr": 5e-3, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8},
    {"lr": 5e-3, "initial_lr": 5e-3, "weight_decay": 0.0, "betas": [0.9, 0.999], "eps": 1e-8},
]
ENVIRONMENT = {"python": "3.11.2", "torch": "2.10.0", "device": "cpu", "git": "4f1c2ab"}
RESTORED = {"weights": "restored", "optimizer": "restored", "rng": "restored"}
DIFFERENCE = {
    "name": "model/transformer.wte.weight",
    "kind": "tensor",
    "expected": "3f" * 32,
    "found": "a0" * 32,
    "index": [17, 4],
    "largest": 2.4e-7,
    "tensors_differing": 61,
    "elements_differing": 9214,
}
OFFERS = Capabilities(
    {
        "relabel": Action(
            "relabel",
            "New labels for what it is sure of.",
            (Setting("threshold", maximum=1.0), Setting("soft", "bool")),
            {"soft": True},
        )
    },
    ["encoder", "encoder.layer.0", "encoder.layer.1", "head", "head.weight", "head.bias"],
)
#: Shards before and after one was added.
BEFORE = Composition(
    (
        Shard("code", 1.0, "3f" * 32, 1200, "/data/code.jsonl"),
        Shard("prose", 3.0, "a0" * 32, 5400, "/data/prose"),
    )
)
AFTER = BEFORE.changed(
    {"chat": Shard("chat", None, "7c" * 32, 310, "/data/incoming/chat.jsonl")}, weights={"chat": 1}
)
_FROZEN = np.arange(4096, dtype=np.float32)


@dataclass
class Line:
    """A branch as it grows: where it is and what is in force."""

    grower: Grower
    branch: Branch
    segment: Segment
    head: Node | None
    settings: dict[str, Any]
    step: int = 0
    drawn: dict[str, int] | None = None

    @property
    def ref(self) -> str:
        """``run/branch``."""
        return f"{self.grower.run.name}/{self.branch.name}"

    def certify(self, start: Node, target: Node, **facts: Any) -> Certificate:
        """A certificate of a stretch, as a trial would have written it."""
        given: dict[str, Any] = {"difference": None, "untested": [], **facts}
        made = Certificate(
            id=new_id(),
            run_id=target.run_id,
            branch_id=target.branch_id,
            from_node_id=start.id,
            to_node_id=target.id,
            digest=target.state_digest,
            environment={**ENVIRONMENT, "threads": 2},
            actor="anna",
            created_at=time.time(),
            **given,
        )
        with self.grower.database.transaction() as connection:
            certificates.add(connection, made, target.step)
        return made

    def offer(self) -> None:
        """Have its process offer more than the usual: settings and an action of the author's."""
        mine = Setting("temperature", minimum=0.0, unit="K", about="of the sampling")
        data = Setting(SHARDS, "str")
        known = [one.as_dict() for one in (*BUILT_IN, DROPOUT, mine, data, MAX_STEPS)]
        self.settings |= {"dropout": 0.1, "temperature": 2.0, SHARDS: BEFORE.value}
        with self.grower.database.transaction() as connection:
            texts.put(connection, BEFORE.document)
            connection.execute(
                tables.segments.update()
                .where(tables.segments.c.id == self.segment.id)
                .values(offers=OFFERS.as_dict(), declared=known, settings=self.settings)
            )

    def draw(self, step: int) -> None:
        """Train from shards, one of which was added at ``step``."""
        self.settings |= {SHARDS: BEFORE.value}
        with self.grower.database.transaction() as connection:
            for composition in (BEFORE, AFTER):
                texts.put(connection, composition.document)
        self.commit("checkpoint", step // 2)
        code, prose, chat = (shard.key for shard in AFTER.shards)
        self.drawn = {code: 2 * step, prose: 6 * step}
        self.commit("intervention", step, {SHARDS: AFTER.value})
        self.drawn = {code: 3 * step, prose: 9 * step, chat: step}
        self.commit("checkpoint", 2 * step)

    def log(self, name: str, steps: Any, values: Any) -> None:
        """Points of a metric."""
        began = self.grower.began
        points = [
            (name, int(step), float(value), began + 0.08 * int(step))
            for step, value in zip(steps, values, strict=True)
        ]
        with self.grower.database.transaction() as connection:
            metrics.append(connection, self.segment.id, points)
        self.step = max(self.step, int(steps[-1]))

    def commit(
        self,
        kind: str,
        step: int,
        changes: dict[str, Any] | None = None,
        message: str = "",
        actor: str = "trainer",
        effective: bool = True,
        since: int | None = None,
        **values: float,
    ) -> Node:
        """A node with its checkpoint; ``changes`` are settings' new values."""
        done = tuple(Change(n, self.settings[n], v, since) for n, v in (changes or {}).items())
        self.settings = {**self.settings, **(changes or {})}
        new = NewNode(
            run_id=self.grower.run.id,
            branch_id=self.branch.id,
            segment_id=self.segment.id,
            parent_id=self.head.id if self.head else None,
            step=step,
            epoch=step / 500,
            kind=kind,
            state_digest=self.grower.checkpoint(f"{self.branch.id}{step}{kind}", self.drawn),
            settings=self.settings,
            param_groups=GROUPS,
            changes=done,
            message=message,
            actor=actor,
            environment=ENVIRONMENT,
            metrics=values,
        )
        with self.grower.database.transaction() as connection:
            self.head = nodes.commit(connection, new)
            if done and effective:
                self.read_back(connection, step + 1)
        self.step = max(self.step, step)
        return self.head

    def read_back(self, connection: Any, step: int, verified: bool = True) -> None:
        """What the update after the head used."""
        assert self.head is not None
        used = {"step": step, "verified": verified, **self.settings}
        used |= {"lr_now": self.settings["lr"] * 0.9, "grad_norm": 0.84}
        nodes.set_effective(connection, self.head.id, used)

    def ask(self, payload: dict[str, Any], reason: str, state: str = "", **facts: Any) -> None:
        """A request, brought as far as ``state``."""
        kind = payload.pop("kind")
        with self.grower.database.transaction() as connection:
            made = requests.add(
                connection,
                self.branch,
                kind=kind,
                payload=payload,
                requested=payload,
                actor=Actor("anna"),
                reason=reason,
            )
            requests.move(connection, made.id, "accepted", actor="anna")
            for name in state.split():
                requests.move(connection, made.id, name, actor="trainer", **facts)

    def beat(self, rate: float = 11.8) -> None:
        """A heartbeat at the step reached."""
        with self.grower.database.transaction() as connection:
            segments.heartbeat(connection, self.segment.id, self.step, rate, self.settings)

    def end(self, status: str, error: str | None = None) -> None:
        """The process is over."""
        self.beat()
        with self.grower.database.transaction() as connection:
            metrics.seal_tails(connection, self.segment.id)
            segments.end(connection, self.segment.id, status, actor="trainer", error=error)


class Grower:
    """One run of a test's own."""

    def __init__(self, database: Database, store: Store, name: str) -> None:
        self.database, self.store = database, store
        self.began = time.time() - 200
        with database.transaction() as connection:
            entry = {"argv": ["python", "-m", "train"], "cwd": "."}
            self.run: Run = runs.create_run(connection, name, actor="anna", entry_point=entry)

    def checkpoint(self, salt: str, drawn: dict[str, int] | None = None) -> str:
        """A recorded checkpoint whose content depends on ``salt``; a large part never changes."""
        changing = np.frombuffer(salt.encode().ljust(64, b".")[:64], np.float32)
        arrays = {"model/frozen.weight": _FROZEN, "model/head.weight": changing}
        arrays["optimizer/exp_avg"] = changing * 2
        tensors = [
            TensorBytes(name, "F32", array.shape, memoryview(np.ascontiguousarray(array)))
            for name, array in arrays.items()
        ]
        digests = [tensor_digest(one.dtype, one.shape, one.data) for one in tensors]
        entries = (
            Entry(one.name, one.dtype, one.shape, digest)
            for one, digest in zip(tensors, digests, strict=True)
        )
        state: dict[str, Any] = {"salt": salt}
        if drawn is not None:
            state["loop"] = {"data": {"settings": {"drawn": drawn}}}
        manifest = Manifest(tuple(entries), state)
        with self.database.transaction() as connection:
            known = nodes.packs_of(connection, digests)
            new = [
                (digest, one)
                for digest, one in zip(digests, tensors, strict=True)
                if digest not in known
            ]
            pack = self.store.put(new, {"salt": salt}) if new else None
            nodes.add_checkpoint(
                connection,
                manifest.digest,
                manifest.to_json(),
                tensor_count=len(tensors),
                logical_bytes=manifest.logical_bytes,
                locations=pack.locations if pack else (),
                pack=(pack.id, pack.nbytes) if pack else None,
            )
        return manifest.digest

    def line(self, name: str, max_steps: int | None = 2000) -> Line:
        """A new branch from nothing, taken by a process."""
        with self.database.transaction() as connection:
            branch = runs.create_branch(connection, self.run.id, name)
            segment = segments.create(connection, self.run.id, branch.id, None, 0)
        line = Line(self, branch, segment, None, dict(SETTINGS))
        self.take(line, max_steps)
        return line

    def take(self, line: Line, max_steps: int | None = 2000) -> None:
        """Let a process train a waiting line."""
        with self.database.transaction() as connection:
            line.segment = segments.take(
                connection,
                line.segment.id,
                actor="trainer",
                settings=line.settings,
                declared=[one.as_dict() for one in BUILT_IN],
                max_steps=max_steps,
            )
            line.branch = runs.get_branch(connection, line.branch.id)

    def order(self, node: Node, name: str, why: str = "", **overrides: Any) -> tuple[Line, Launch]:
        """A launch from ``node`` that no worker has yet."""
        with self.database.transaction() as connection:
            launch = ordering.order(
                connection,
                node,
                branch_name=name,
                overrides=overrides,
                mode="exact",
                actor="anna",
                reason=why,
            )
            branch = runs.get_branch(connection, launch.branch_id)
            segment = segments.get(connection, launch.segment_id)
            head = nodes.get(connection, launch.fork_node_id)
        return Line(self, branch, segment, head, dict(head.settings), node.step), launch

    def fork(self, node: Node, name: str, why: str = "", **overrides: Any) -> Line:
        """A launch from ``node`` whose process trains and has read its settings back."""
        line, launch = self.order(node, name, why, **overrides)
        with self.database.transaction() as connection:
            launches.move(connection, launch.id, "starting", "worker", worker="worker")
            launches.move(connection, launch.id, "running", "worker", pid=4242)
        self.take(line)
        with self.database.transaction() as connection:
            line.read_back(connection, node.step + 1)
            assert line.head is not None
            nodes.set_effective(
                connection,
                line.head.id,
                {"step": node.step + 1, "verified": True, **line.settings},
                {**RESTORED, **dict.fromkeys(overrides, "replaced")},
            )
        return line


def moved(lines: dict[str, Line], database: Database, store: Store) -> dict[str, Line]:
    """Lines of a home that was copied, growing on in the copy."""
    growers: dict[int, Grower] = {}
    for line in lines.values():
        grower = growers.setdefault(id(line.grower), copy(line.grower))
        grower.database, grower.store = database, store
    return {name: replace(line, grower=growers[id(line.grower)]) for name, line in lines.items()}


def curve(first: int, last: int, high: float, low: float, pace: float, seed: int) -> Any:
    """Steps ``first + 1 .. last`` and a noisy decay from ``high`` to ``low``."""
    noise = np.random.default_rng(seed)
    steps = np.arange(first + 1, last + 1)
    values = low + (high - low) * np.exp(-(steps - first) / pace)
    return steps, values + noise.normal(0, 0.03, steps.size) * (0.4 + values / 6)


def agents(line: Line) -> str:
    """An agent with a proposal about a branch that trains, and a model's two answers; its id."""
    with line.grower.database.transaction() as connection:
        run_id, budget = line.branch.run_id, {"branches": 4, "tokens": 50_000}
        guard = add_agent(connection, run_id, branch=line.branch.name, budget=budget)
        helper = add_agent(connection, run_id, "helper", policy="llm", budget=budget)
        agent_rows.beat(connection, guard.id, step=200, note="step 200: all is well")
        for outcome in ("nothing", "malformed"):
            add_exchange(connection, helper, line.branch.id, outcome=outcome)
    who = Actor("guard", "agent", "policy", agent_id=guard.id)
    control.submit(
        line.grower.database,
        f"{line.grower.run.name}/{line.branch.name}",
        {"kind": "set", "values": {"lr": 1e-4}},
        actor=who,
        reason="loss rose from 2.1 (step 180) to 2.6 (step 200)",
        propose=True,
    )
    return helper.id


def alerts(line: Line) -> None:
    """An alert of each level about a branch, the oldest of which was seen."""
    assert line.head is not None
    offer = {"node": line.head.id, "step": line.head.step, "settings": {"lr": "x0.5"}}
    said = {
        "info": ("target", "eval_loss is 2.400 at step 200: the target eval_loss<2.5 is reached"),
        "warn": ("spike", "loss spikes to 9.500 at step 230, from about 2.100"),
        "error": ("nan", "loss is NaN since step 260: fork from node 3f2a91c0 (step 250)"),
    }
    with line.grower.database.transaction() as connection:
        for level, (kind, text) in said.items():
            alert = alert_rows.add(
                connection,
                line.branch.run_id,
                line.branch.id,
                key=f"{kind}:{line.branch.id}",
                kind=kind,
                level=level,
                text=text,
                step=230,
                offer=None if level == "info" else {**offer, "name": "calmer"},
                segment_id=line.segment.id,
                node_id=line.head.id,
                actor="run",
            )
            if level == "info":
                alert_rows.mark_seen(connection, alert.id, "ann")


def many(line: Line, count: int) -> None:
    """Checkpoints one update apart that share their bytes, added at once."""
    digest = line.grower.checkpoint("shared")
    with line.grower.database.transaction() as connection:
        for step in range(line.step, line.step + count):
            line.head = nodes.commit(
                connection,
                NewNode(
                    line.grower.run.id,
                    line.branch.id,
                    line.segment.id,
                    line.head.id if line.head else None,
                    step,
                    0.0,
                    "checkpoint" if line.head else "root",
                    digest,
                    line.settings,
                    [],
                    actor="trainer",
                ),
            )
    line.step += count


def log_all(line: Line, steps: Any, values: Any) -> None:
    """Train and held-out loss, gradient norm and learning rate."""
    line.log("loss", steps, values)
    line.log("grad_norm", steps[::10], 0.6 + 0.2 * np.sin(steps[::10] / 40))
    line.log("lr", steps[::10], line.settings["lr"] * (1 - steps[::10] / 4000))
    held_out = steps % 100 == 0
    if held_out.any():
        line.log("eval_loss", steps[held_out], values[held_out] + 0.05)


def demo(database: Database, store: Store, name: str = "gpt2-docs") -> dict[str, Line]:
    """Four branches: too hot at first, brought down live, forked twice, and one that trains now."""
    grower = Grower(database, store, name)
    main = grower.line("main")
    main.commit("root", 0, message="GPT-2 shape, 0.8 M parameters")
    log_all(main, *curve(0, 400, 5.5, 2.9, 130, 1))
    main.commit("checkpoint", 200, message="every 200 steps", loss=3.31, eval_loss=3.36)
    main.ask({"kind": "set", "values": {"lr": 1e-3}}, "oscillating", "applied verified", step=400)
    fork_at = main.commit(
        "intervention", 400, {"lr": 1e-3}, "oscillating", "anna", loss=2.98, eval_loss=3.02
    )
    log_all(main, *curve(400, 1400, 2.98, 2.2, 180, 2))
    eight = main.commit("checkpoint", 800, loss=2.29, eval_loss=2.35)
    last = main.commit("final", 1400, message="stopped by anna", loss=2.214, eval_loss=2.266)
    main.end("finished")
    main.certify(eight, last)
    hot = grower.fork(fork_at, "hot", "the road not taken", lr=5e-3)
    steps, values = curve(400, 900, 2.98, 2.75, 200, 3)
    values = values + 0.16 * np.sin((steps - 400) / 60)
    values[(steps > 640) & (steps < 652)] = math.nan
    log_all(hot, steps, values)
    assert hot.head is not None
    forked = hot.head
    ended = hot.commit("final", 900, message="stopped by anna", loss=2.701, eval_loss=2.77)
    hot.end("stopped")
    hot.certify(forked, ended, difference=DIFFERENCE)
    cooler = grower.fork(fork_at, "cooler", "1e-3 is still noisy", lr=3e-4)
    log_all(cooler, *curve(400, 2000, 2.98, 2.0, 170, 4))
    spiked = cooler.commit(
        "intervention",
        800,
        {"max_grad_norm": 0.5},
        "spikes at 730",
        "anna",
        loss=2.24,
        eval_loss=2.3,
    )
    before_code = cooler.commit("checkpoint", 1200, loss=2.091, eval_loss=2.15)
    cooler.commit("checkpoint", 1600, loss=2.058, eval_loss=2.11)
    cooler.commit("final", 2000, loss=2.043, eval_loss=2.09)
    cooler.end("finished")
    cooler.certify(spiked, before_code, untested=["8 threads (tested: 1 and 2)"])
    code = grower.fork(before_code, "more-decay", "weights grow", weight_decay=0.1)
    log_all(code, *curve(1200, 1760, 2.09, 1.85, 150, 5))
    code.commit(
        "intervention",
        1600,
        {"lr": 1.5e-4},
        "flat for 300 steps",
        "policy plateau",
        loss=1.902,
        eval_loss=1.95,
    )
    code.beat()
    return {line.branch.name: line for line in (main, hot, cooler, code)}
