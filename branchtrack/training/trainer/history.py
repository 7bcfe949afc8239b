"""What a Trainer's script sees of the training before its node: the log, the mean loss, the best.

A resumed process has trained only a part; what follows `train()` in its script has to see it all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.core import tree
from branchtrack.core.records import Node
from branchtrack.db import metrics, nodes
from branchtrack.training.record import commits
from branchtrack.training.record.committer import COPY_MS
from branchtrack.training.state import snapshots
from branchtrack.training.trainer.protocol import BranchingTrainer
from branchtrack.training.trainer.resumption import output_folder

#: Series that branchtrack itself records, which do not belong in a Trainer's log.
_OURS = COPY_MS.partition("/")[0] + "/"
#: Values that the Trainer logs as whole numbers; points are floats.
_WHOLE = frozenset(("num_input_tokens_seen",))


#: What the Trainer logs when `train()` ends, also if it was stopped.
_SUMMARY = frozenset(("train_runtime", "train_loss"))


def log_history(
    connection: Connection, node: Node, *, is_over: bool = False
) -> list[dict[str, Any]]:
    """Return `TrainerState.log_history` up to a node: an entry for each time values were logged.

    The summary of an earlier part that has ended is left out: its continuation gets its own at the
    end. If the training ``is_over`` at the node, the last summary there is that one.
    """
    starts = nodes.starts(connection, node.run_id)
    spans = tree.lineage(node.segment_id, starts.__getitem__)
    segments = sorted({span.segment for span in spans})
    entries: dict[tuple[int, float], dict[str, Any]] = {}
    for name in metrics.names(connection, segments):
        if name.startswith(_OURS):
            continue
        series = metrics.read(connection, segments, name)
        for span in spans:
            upto = node.step if span.upto is None else min(span.upto, node.step)
            if span.segment in series:
                cut = series[span.segment].cut(span.after, upto)
                rows = zip(cut.steps.tolist(), cut.times.tolist(), cut.values.tolist(), strict=True)
                for step, time, value in rows:
                    entry = entries.setdefault((step, time), {})
                    entry[name] = int(value) if name in _WHOLE else value
    logged = _in_order(entries)
    summaries = [entry for entry in logged if entry.keys() >= _SUMMARY]
    final_summary = (
        summaries[-1] if is_over and summaries and summaries[-1]["step"] == node.step else None
    )
    return [entry for entry in logged if entry is final_summary or not entry.keys() >= _SUMMARY]


def _in_order(entries: Mapping[tuple[int, float], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return entries as the Trainer has them: what is logged twice at a step is in each."""
    shared: dict[int, dict[str, Any]] = {}
    for (step, _), entry in entries.items():
        shared.setdefault(step, {}).update({n: entry[n] for n in ("epoch", *_WHOLE) if n in entry})
    return [{**shared[step], **entries[step, time], "step": step} for step, time in sorted(entries)]


def mean_loss(trainer: BranchingTrainer) -> float:
    """Return the mean training loss since the run's first update, in this process or before."""
    updates = trainer.state.global_step - trainer._bt_first_step
    return float(trainer._total_loss_scalar / max(updates, 0.001))


def bring_best_model(
    connection: Connection, trainer: BranchingTrainer, store: Store, node: Node
) -> None:
    """Write the best model so far to this branch's own folder, where the Trainer looks for it.

    Call it before a node's state is loaded into the model, which is used to write it.
    """
    state = trainer.state
    if not (trainer.args.load_best_model_at_end and state.best_global_step):
        return
    folder = os.path.join(output_folder(trainer.args), f"checkpoint-{state.best_global_step}")
    if not os.path.isdir(folder):
        best = nodes.first_at(connection, node, state.best_global_step)
        if best is None:
            return
        stored = nodes.checkpoint(connection, best.state_digest)
        snapshots.give_weights(trainer.model, commits.load(store, stored, best))
        trainer.save_model(folder, _internal_call=True)
    state.best_model_checkpoint = folder
