"""A plain PyTorch loop as a branch of a run: `start`, and the `Run` that the loop calls.

    run = start("digits", model=model, optimizer=optimizer, scheduler=scheduler, data=loader)
    for batch in run.batches():          <- restores random states, once; counts batches
        loss = train_step(batch)         <- hooks of the optimizer read back, if that is due
        run.log(loss=loss)
        if run.step():                   <- CONTROL POINT: apply, capture, commit
            break
    run.finish()                         <- the final node

A node holds the state at the moment `Run.step` is called. What belongs to an update (its optimizer
and scheduler, evaluation that a scheduler depends on) comes before that call: a training that is
resumed at the node begins with the next batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.loop import arguments, beginning, companions, passed_over
from branchtrack.training.loop import objects as loop_objects
from branchtrack.training.loop import resumption as loop_resumption
from branchtrack.training.loop.companions import Companions
from branchtrack.training.loop.exit import Ending
from branchtrack.training.loop.hooks import Effects
from branchtrack.training.loop.loader import TrackedLoader, unwrapped
from branchtrack.training.record.committer import Point
from branchtrack.training.session.opening import open_session, resumption
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import Live
from branchtrack.training.state import model_repr, snapshots
from branchtrack.training.steer import author_actions

logger = logging.getLogger("branchtrack")


def start(
    name: str | None = None,
    *,
    model: torch.nn.Module | Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer | dict[str, torch.optim.Optimizer],
    scheduler: Any = None,
    data: Any = None,
    settings: Mapping[str, Any] | None = None,
    objects: Mapping[str, Any] | None = None,
    evaluate: Callable[[], Mapping[str, Any]] | None = None,
    actions: Mapping[str, Callable[..., Any]] | None = None,
    max_steps: int | None = None,
    seed: int | None = None,
    save_steps: int | None = None,
    resume: str | None = None,
    set: Mapping[str, Any] | None = None,
    mode: str = "exact",
    branch: str | None = None,
) -> Run:
    """Begin a run, or continue from the node that this process was started for.

    ``model`` and ``optimizer`` may be dicts by name (``scheduler`` then is one by the optimizers'
    names). ``data`` is a DataLoader, or anything that can be iterated again for each pass
    (from `track_loader` if another library owns the loop).
    ``settings`` are values that the loop reads as ``run.settings[name]``, plain or made by
    `branchtrack.setting`; ``objects`` anything else with state (``state_dict``,
    ``load_state_dict``); ``evaluate`` returns metrics; ``actions`` are functions by name that a
    request to the run can call (see `steer.author_actions`). ``max_steps`` and ``save_steps`` count
    updates. ``seed`` seeds python, numpy and torch now, which is after the model was created: seed
    before that too if its first weights are to be the same each time.

    ``resume`` is the node (or RUN/BRANCH for its newest) to continue from, here and now, as a new
    ``branch``, with the settings in ``set`` changed and by ``mode`` as in `branchtrack resume`.
    ``resume="latest"`` continues the branch that this same command trained last: a new run begins
    if there is none, and a finished one is passed over (`Run.is_over` at once).

    Raises:
        InvalidInput, CheckpointMismatch: an argument cannot be used, or does not fit the node.
        NotFound: there is no such node. BranchTaken: another process trains that branch.
    """
    arguments.check(name, settings=settings, objects=objects, actions=actions)
    requested = arguments.counts(max_steps=max_steps, save_steps=save_steps, seed=seed)
    beside = companions.find(optimizer, scheduler, objects or {})
    live = loop_objects.live_objects(model, optimizer, beside.scheduler, settings or {})
    loop_objects.check_objects(objects or {})
    for word, function in (actions or {}).items():
        author_actions.describe(word, function)
    session = open_session(name, resumption(resume, set, mode, branch))
    session.actions, session.evaluates = dict(actions or {}), evaluate is not None
    session.meets_at_once = True
    if session.records:
        session.signals.on()
    try:
        return Run(live, session, data, dict(objects or {}), evaluate, requested, beside)
    except BaseException as error:
        session.close("failed", f"{type(error).__name__}: {error}")
        raise


#: Updates made after a stop from which on a loop is assumed to ignore it.
_OVERRUN = 3


class Run:
    """The object a loop calls while it trains; created by `start`.

    ``settings`` are the values that its author declared. As a context manager it finishes at the
    end of the block, or records the exception that ended it.
    """

    def __init__(
        self,
        live: Live,
        session: TrainingSession,
        data: Any,
        objects: Mapping[str, Any],
        evaluate: Callable[[], Mapping[str, Any]] | None,
        requested: Mapping[str, Any],
        beside: Companions | None = None,
    ) -> None:
        assert live.values is not None
        self.settings: Values = live.values
        self._live, self._session = live, session
        self._objects, self._evaluate = objects, evaluate
        self._beside = beside = beside or Companions(live.scheduler)
        self._begun = self._taken = self._called = self._closed = False
        self._overrun = 0
        live.attributes = loop_objects.attributes_of(live, beside.owners, unwrapped(data), objects)
        begin = passed_over.begin if session.passes_over else beginning.begin
        begun = begin(live, session, unwrapped(data), objects, requested)
        if isinstance(data, TrackedLoader):
            data.bind(self._rest)
        self._limits, self._batches, self._now = begun.limits, begun.batches, begun.now
        self._base = session.base
        session.not_restored += beside.untracked
        self._effects = Effects(live, session)
        session.uncovered += loop_objects.untested(live, unwrapped(data), objects)
        session.begin(self._point(), self.max_steps, begun.script)
        session.commit_root(self._point(), model_repr.summary(live.model))
        if session.base is not None and session.expecting is not None:
            expected = session.expecting.settings
            session.expecting.settings = loop_resumption.expected(live, session.base, expected)
        self._effects.expect()
        self._begun = True
        self._ending = Ending(self._close)

    @property
    def step_number(self) -> int:
        """The number of updates so far."""
        return self._limits.step

    @property
    def max_steps(self) -> int | None:
        """The step at which the loop ends, if it does by itself; it may change during training."""
        return self._limits.max_steps

    @property
    def update(self) -> int:
        """The number of the current update; after `step`, of the last one."""
        return self.step_number + (self._taken or self._effects.moved)

    @property
    def epoch(self) -> int:
        """The current pass over the data, counted from 0."""
        return 0 if self._batches is None else self._batches.epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether the newest batch is the last of its pass; false if that cannot be known."""
        return self._batches is not None and self._batches.over

    @property
    def is_over(self) -> bool:
        """Whether the loop should end: it was asked to stop, reached its end or is finished."""
        return self._limits.is_over or self._closed or self._session.stop_asked

    @property
    def is_called(self) -> bool:
        """Whether a request has arrived that the next `step` answers."""
        return self._session.is_called

    def batches(self) -> Iterator[Any]:
        """Yield the batches of one pass after another, until the loop should end.

        Raises:
            InvalidInput: no data was passed to `start`.
        """
        if self._batches is None:
            raise InvalidInput("data", None, "start(..., data=loader), to have batches")
        self._come_back()
        if self._session.records:
            # A notebook installs handlers of its own for each cell.
            self._session.signals.on()
        while not self.is_over:
            batch = self._batches.take()
            self._take(batch)
            yield batch

    def track_loader(self, loader: Any) -> TrackedLoader:
        """Return the loader passed to `start`, for another library's loop: each iteration a pass.

        Raises:
            InvalidInput: it is another loader.
        """
        if self._batches is None or unwrapped(loader) is not self._batches.source:
            raise InvalidInput("loader", loader, "the loader that start(data=...) was given")
        return TrackedLoader(unwrapped(loader), self._rest)

    def _rest(self) -> Iterator[Any]:
        """Yield the rest of a pass, until the loop should end."""
        assert self._batches is not None
        self._come_back()
        for batch in self._batches.rest():
            self._take(batch)
            yield batch
            if self.is_over:
                return

    def _take(self, batch: Any) -> None:
        self._taken = True
        if self._session.witness is not None:
            self._session.witness.take([batch])

    def log(
        self, values: Mapping[str, Any] | None = None, /, *, rank: str | None = None, **more: Any
    ) -> None:
        """Record metrics of the current update; see `update`.

        Of several processes the first alone is recorded; with ``rank="all"`` each is, as
        ``<name>/rank<number>``.

        Raises:
            InvalidInput: ``rank`` is something else.
        """
        if rank not in (None, "all"):
            raise InvalidInput("rank", rank, '"all", or nothing for the first process')
        if self._closed:
            logger.warning("branchtrack: the run is finished; what is logged now is not recorded.")
            return
        values = {**(values or {}), **more}
        if rank is None:
            self._session.log(self.update, values)
        else:
            self._session.log_each(self.update, values)

    def alert(
        self,
        text: str,
        level: str = "info",
        *,
        metric: str | None = None,
        value: float | None = None,
    ) -> None:
        """Record an alert at the current update; ``level``: info, warn or error."""
        if self._closed:
            logger.warning("branchtrack: the run is finished; an alert now is not recorded.")
            return
        self._session.alert(self.update, text, level, metric, value)

    def step(self) -> bool:
        """Run the control point, after each update; return True when the loop should end.

        After a signal (see `session.signals`) the run is finished here, and what the signal means
        follows: KeyboardInterrupt, SystemExit or the script's own handler.

        The very first call counts no update if no batch was taken and no optimizer has stepped,
        so that ``while not run.step():`` begins before the first one.
        """
        first, self._called = not self._called, True
        if first and not (self._taken or self._effects.moved):
            self._come_back()
        elif not self.is_over:
            self._count()
            due, ends = self._limits.saves, self._limits.is_over
            session, over = self._session, self.ends_epoch
            if ends or session.is_due(save=due, epoch_over=over):
                session.control_point(self._point(), save=due, final=ends, epoch_over=over)
                self._effects.expect()
            if session.rewinds or (session.signals.received and (session.stop_asked or ends)):
                # The rest of this process must do nothing more.
                self._close("stopped" if session.stop_asked else "finished")
                session.signals.deliver()
        elif self._session.stop_asked and not self._closed:
            self._overrun += 1
            if self._session.passes_over:
                self._session.control_point(self._point(), save=False, final=True)
            if self._overrun == _OVERRUN:
                self._session.ignored()
        return self.is_over

    def evaluate(self) -> dict[str, Any]:
        """Call the evaluation passed to `start`, log its metrics and return them.

        Random generators are not affected, and modules keep their training mode.
        """
        metrics = self._measure()
        self.log(metrics)
        self._session.note_evaluation(self.update)
        return metrics

    def finish(self) -> None:
        """Commit the final state of the training, write what is left, and end."""
        if self._closed:
            return
        if self._effects.moved and not self.is_over:
            self._count()
        self._session.control_point(self._point(), save=False, final=True)
        self._close("stopped" if self._session.stop_asked else "finished")
        self._session.signals.deliver()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _traceback: Any) -> None:
        if error is None:
            self.finish()
        else:
            self._ending.by(error)

    def _come_back(self) -> None:
        now, self._now = self._now, None
        session = self._session
        if session.witness is not None:
            session.witness.restart()
        base, self._base = self._base, None
        self._beside.look_again()
        if base is not None and base.mode == "exact":
            stored = snapshots.attributes(base.snapshot)
            session.restore_attributes(self._live, stored)
            session.not_restored += self._beside.not_restored(stored)
        if now is not None:
            rng.restore(now)
        session.ready(self._point())
        self._effects.expect()

    def _count(self) -> None:
        """Count one more update."""
        session = self._session
        if self._batches is not None and not (self._batches.is_read or self._batches.is_unread):
            self._batches.is_unread = True
            logger.warning(
                "branchtrack: data was given to start(), but the loop has its batches from "
                "elsewhere: no node of it can be resumed exactly. Write a loop that %s.",
                beginning.READ_HERE,
            )
        self._taken = self._effects.moved = False
        self._limits.step += 1
        session.advance(self.step_number)
        base, self._base = self._base, None
        if base is not None and base.mode == "exact":
            # Neither batches nor a step before the first update: nothing was restored in time.
            session.not_restored += sorted(snapshots.attributes(base.snapshot))
        if session.witness is not None:
            session.prove(self.step_number, self._live)
        self._effects.settle(self.step_number)

    def _point(self) -> Point:
        position = 0.0 if self._batches is None else self._batches.position
        return Point(self._live, self.step_number, position, self._extra, self._measure)

    def _extra(self) -> dict[str, Any]:
        return beginning.loop_state(self._begun, self._batches, self._objects)

    def _measure(self) -> dict[str, Any]:
        if self._evaluate is None:
            raise InvalidInput("evaluate", None, "start(..., evaluate=function), to evaluate")
        modes = [(module, module.training) for module in self._live.model.modules()]
        with rng.preserved():
            try:
                return dict(self._evaluate())
            finally:
                for module, training in modes:
                    module.training = training

    def _close(self, status: str, error: str | None = None) -> None:
        if self._closed:
            return
        self._closed = True
        self._ending.off()
        self._effects.close()
        if self._batches is not None:
            self._batches.close()
        self._session.close(status, error)
