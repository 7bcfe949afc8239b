"""A tree as pages see it: its branches with their states, its nodes, and facts about all.

It works on what one or two queries read; it makes no query and writes no markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from branchtrack.core import formats, lifecycle, saves
from branchtrack.core.builtin_settings import declared
from branchtrack.core.formats import as_number
from branchtrack.core.launchers import jobs
from branchtrack.core.names import near
from branchtrack.core.records import Branch, Change, Launch, Run, Segment
from branchtrack.core.settings import Setting
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.db.views.tree_outline import NodeSummary, Origin, TreeSummary
from branchtrack.errors import NotFound
from branchtrack.web.svg.marks import distinct
from branchtrack.web.view import certificate_lines
from branchtrack.web.view.certificate_lines import Certified
from branchtrack.web.view.trials import Tried

#: The metric that shows how good a branch is on data it was not trained on.
HELD_OUT = "eval_loss"
#: Names that are suggested if none is similar.
_SUGGESTED = 5
#: Groups that are named if another one is asked for.
_GROUPS = 20
#: How a branch is left that a new process can go on in.
_LEFT = ("stopped", "failed", "lost", lifecycle.SUSPENDED)
#: Settings in the short form.
_SHORT = 4


@dataclass(frozen=True)
class BranchView:
    """A branch and its state; ``style`` selects its colour and dash.

    ``parent`` is the node that it left, if that was read; ``origin`` is where that is.
    ``is_tried``: it is a training of a trial. ``drawn`` is its style where another branch that is
    shown has its own.
    """

    branch: Branch
    segment: Segment | None
    status: str
    head: NodeSummary | None
    parent: NodeSummary | None
    origin: Origin | None = None
    launch: Launch | None = None
    certified: Certified | None = None
    saves: Mapping[str, Any] | None = None
    group: str = ""
    is_tried: bool = False
    drawn: int | None = None

    @property
    def missed_words(self) -> str:
        """Return ``3 of 40 saves were not made``; empty if all were."""
        return saves.words(self.saves)

    @property
    def name(self) -> str:
        """Return the branch's name."""
        return self.branch.name

    @property
    def style(self) -> int:
        """Return the branch's index in its run, unless another one is drawn by it."""
        return self.branch.position if self.drawn is None else self.drawn

    @property
    def shown_status(self) -> str:
        """Return the status that people read, as `jobs.shown_state`."""
        state, job = (self.launch.state, self.launch.job) if self.launch else (None, None)
        return lifecycle.shown(jobs.shown_state(self.status, state, job))

    @property
    def is_live(self) -> bool:
        """Return whether a process trains it now."""
        return self.status in lifecycle.LIVE

    @property
    def can_continue(self) -> bool:
        """Return whether a new process can go on in it, as far as is seen here."""
        return self.head is not None and self.status in _LEFT

    @property
    def step(self) -> int:
        """Return the step that it has reached."""
        steps = [self.segment.step] if self.segment else []
        return max([*steps, self.head.step if self.head else 0])

    @property
    def start(self) -> int:
        """Return the step at which it leaves its parent; a root starts at its first node."""
        return self.origin.step if self.origin else 0

    def reached(
        self, metric: str, last: Mapping[str, tuple[int, float]]
    ) -> tuple[int | None, float | None]:
        """Return the step and value at which its curve ends; ``last`` are the ends of segments.

        For a branch without points these are the step and value of the nearest node.
        """
        segment = self.branch.segment_id or ""
        if segment in last:
            return last[segment]
        node = self.head or self.parent
        value = as_number(node.metrics.get(metric)) if node else None
        return (node.step if node and value is not None else None), value

    @property
    def settings(self) -> dict[str, Setting]:
        """Return the settings that the process training it declared."""
        return declared(self.segment.declared or []) if self.segment else {}

    @property
    def short_settings(self) -> dict[str, Setting]:
        """Return the most used of them, for a short form; `pages.steer` has them all."""
        live = [setting for setting in self.settings.values() if setting.live]
        frequent = [setting for setting in live if setting.is_frequent and not setting.detail]
        return {setting.name: setting for setting in (frequent or live)[:_SHORT]}

    @property
    def gone_words(self) -> str:
        """Return what is known of the process of a lost branch."""
        if self.status != "lost" or self.segment is None:
            return ""
        return ": its process is gone" if self.segment.gone else ": its process is silent"


@dataclass(frozen=True)
class TreeView:
    """A run, its branches in order of creation, and as many of its nodes as a page shows.

    The branches with the ids ``shown`` are drawn together, no two of them alike.
    """

    outline: TreeSummary
    nodes: TreeNodes
    now: float
    newest_launch: Launch | None = None
    tried: Tried = Tried()
    shown: Collection[str] = ()

    @property
    def refused(self) -> Launch | None:
        """Return the newest launch if its process refused to train and nothing is left of it."""
        launch = self.newest_launch
        if launch is None or launch.state != "failed" or launch.branch_id in self.by_branch:
            return None
        return launch

    @property
    def run(self) -> Run:
        """Return the run."""
        return self.outline.run

    @property
    def by_id(self) -> Mapping[str, NodeSummary]:
        """Return the nodes that were read, by id."""
        return self.nodes.by_id

    @cached_property
    def branches(self) -> list[BranchView]:
        """Return the branches with their states."""
        return [self._view(branch) for branch in self.outline.branches]

    @cached_property
    def by_branch(self) -> dict[str, BranchView]:
        """Return the branches by id."""
        return {view.branch.id: view for view in self.branches}

    def named(self, name: str) -> BranchView | None:
        """Return the branch of that name."""
        return next((view for view in self.branches if view.name == name), None)

    def no_branch(self, name: str) -> NotFound:
        """Return the error for an unknown branch name, with similar names or else some others."""
        run, names = self.run.name, [view.name for view in self.branches]
        close = near(name, names) or names[:_SUGGESTED]
        return NotFound("branch", f"{run}/{name}", [f"{run}/{candidate}" for candidate in close])

    def no_group(self, name: str) -> NotFound:
        """Return the error for an unknown group, with the names of those that there are."""
        names = sorted({view.group for view in self.branches if view.group})[:_GROUPS]
        fix = f"These exist: {', '.join(names)}." if names else "This run has no group."
        return NotFound("group", name, names, fix=fix)

    @property
    def live(self) -> list[BranchView]:
        """Return the branches that train now."""
        return [view for view in self.branches if view.is_live]

    @cached_property
    def starts(self) -> dict[str, tuple[str, int] | None]:
        """Return, as `db.nodes.starts`, the (segment, step) of each segment's first node."""
        origins = self.outline.origins
        return {
            key: (origins[key].segment_id, origins[key].step) if key in origins else None
            for key in self.outline.segments
        }

    def parent_of(self, view: BranchView) -> BranchView | None:
        """Return the branch that another one left."""
        return self.by_branch.get(view.origin.branch_id) if view.origin else None

    def _view(self, branch: Branch) -> BranchView:
        segment = self.outline.segments.get(branch.segment_id or "")
        status = self.outline.status(branch, self.now)
        head = self.by_id.get(branch.head_id or "")
        parent = self.by_id.get(branch.start_node_id or "")
        certified = certificate_lines.find(
            self.outline.certificates.get(branch.id), self.by_id, head
        )
        launch = self.outline.launches.get(branch.id)
        saved = self.outline.saves(branch)
        group = self.outline.groups.get(branch.group_id or "", "")
        return BranchView(
            branch,
            segment,
            status,
            head,
            parent,
            self._origins.get(branch.id),
            launch,
            certified,
            saved,
            group,
            branch.group_id in self.outline.trial_groups,
            self._drawn.get(branch.id),
        )

    @cached_property
    def _drawn(self) -> dict[str, int]:
        shown = [branch for branch in self.outline.branches if branch.id in self.shown]
        styles = distinct(branch.position for branch in shown)
        return {branch.id: style for branch, style in zip(shown, styles, strict=True)}

    @cached_property
    def _origins(self) -> dict[str, Origin]:
        """Return where each branch left another: the origin of its first segment."""
        by_position = sorted(self.outline.segments.values(), key=lambda item: -item.position)
        first = {item.branch_id: item.id for item in by_position}
        origins = self.outline.origins
        return {branch: origins[key] for branch, key in first.items() if key in origins}


def standing_nodes(outline: TreeSummary) -> list[str]:
    """Return the ids of the nodes that a run's branches begin, end and are certified at."""
    ids = {branch.head_id for branch in outline.branches}
    ids |= {branch.start_node_id for branch in outline.branches}
    ids |= {segment.start_node_id for segment in outline.segments.values()}
    for certificate in outline.certificates.values():
        ids |= {certificate.from_node_id, certificate.to_node_id}
    return sorted(node_id for node_id in ids if node_id)


def change_words(changes: Iterable[Change]) -> str:
    """Return ``lr 5e-3 → 1e-3, weight_decay 0 → 0.1 (since step 101)``."""
    return ", ".join(
        formats.change_words(change.name, change.before, change.after, change.step)
        for change in changes
    )


def counted(branches: Sequence[BranchView]) -> list[tuple[str, int]]:
    """Return how many branches are in each state, liveliest first.

    The trainings of a trial that have ended are not among them: they ended as they were to.
    """
    order = "running paused starting submitted waiting lost failed stopped finished empty".split()
    ended = ("stopped", "finished")
    shown = Counter(
        view.shown_status for view in branches if not (view.is_tried and view.status in ended)
    )
    counts = {state: shown[state] for state in order}
    return [(state, count) for state, count in counts.items() if count]
