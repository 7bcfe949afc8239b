"""Which branches of a tree a page shows: those that its reader chose, or those that matter most.

It works on what was read, and knows no address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile, zip_longest

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.web.view.tree import BranchView, TreeView

#: Branches that are shown unless others are chosen; with more a tree cannot be read.
FEW = 12
#: States in which something may still happen.
_OPEN = ("running", "paused", "waiting", "starting")


@dataclass(frozen=True)
class Choice:
    """What a reader chose: branches by ``names``, a ``group``, the ``path`` to a branch, or all."""

    names: tuple[str, ...] = ()
    group: str = ""
    path: str = ""
    is_all: bool = False

    @property
    def is_default(self) -> bool:
        """Return whether nothing was chosen."""
        return self == Choice()


@dataclass(frozen=True)
class Rating:
    """The best value of ``metric`` on each branch, by its id; a branch without one has none."""

    metric: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    def best_first(self, branches: Sequence[BranchView]) -> list[BranchView]:
        """Return the branches that have a value, the best one first."""
        rated = [view for view in branches if view.branch.id in self.values]
        sign = -1 if is_higher_better(self.metric) else 1
        return sorted(rated, key=lambda view: sign * self.values[view.branch.id])


@dataclass(frozen=True)
class Folded:
    """Branches that are not shown: those of a group, or those of none (``group`` is empty)."""

    group: str
    branches: Sequence[BranchView]
    best: BranchView | None

    @property
    def is_trial(self) -> bool:
        """Return whether they are the trainings of a trial."""
        return self.branches[0].is_tried


def choose(tree: TreeView, choice: Choice, rating: Rating) -> list[BranchView]:
    """Return the branches to show, pinned ones first.

    Raises:
        NotFound: a branch or group that was chosen by its name does not exist.
    """
    for name in (*choice.names, *([choice.path] if choice.path else ())):
        if tree.named(name) is None:
            raise tree.no_branch(name)
    if choice.group and all(view.group != choice.group for view in tree.branches):
        raise tree.no_group(choice.group)
    shown = _chosen(tree, choice, rating)
    return sorted(shown, key=lambda view: (view.branch.pinned_at is None, view.branch.position))


def folded(tree: TreeView, shown: Sequence[BranchView], rating: Rating) -> list[Folded]:
    """Return what is not shown: groups by name, and then the other branches together."""
    names = {view.name for view in shown}
    by_group: dict[str, list[BranchView]] = {}
    for view in tree.branches:
        if view.name not in names:
            by_group.setdefault(view.group, []).append(view)
    return [
        Folded(group, views, next(iter(rating.best_first(views)), None))
        for group, views in sorted(by_group.items(), key=lambda pair: (not pair[0], pair[0]))
    ]


def _chosen(tree: TreeView, choice: Choice, rating: Rating) -> list[BranchView]:
    if choice.is_all:
        return list(tree.branches)
    if choice.is_default:
        return _few(tree, rating)
    wanted: dict[str, BranchView] = {}
    for view in tree.branches:
        if view.name in choice.names:
            wanted[view.name] = view
        if (choice.group and view.group == choice.group) or view.name == choice.path:
            wanted |= {each.name: each for each in _with_ancestors(tree, view)}
    return list(wanted.values())


def _few(tree: TreeView, rating: Rating) -> list[BranchView]:
    """Return all branches but archived ones if these are few; else those that matter most.

    The trainings of a trial are not among them: its verdict stands for them. The trunk always is,
    and no branch comes without those that it grew from; but where these are too many, a branch that
    is open, pinned, the best or the newest stands alone.
    """
    present = [
        view for view in tree.branches if view.branch.archived_at is None and not view.is_tried
    ]
    if len(present) <= FEW:
        return present or list(tree.branches)
    marked = [present[-1], *rating.best_first(present)[:1]]
    shown: dict[str, BranchView] = {}
    for view in _by_interest(tree, present, rating):
        if len(shown) == FEW:
            break
        if view.name in shown:
            continue
        missing = _missing(tree, view, shown)
        line = list(islice(missing, FEW - len(shown) + 1))
        if len(shown) + len(line) <= FEW:
            shown |= {each.name: each for each in line}
        elif view.status in _OPEN or view.branch.pinned_at is not None or view in marked:
            shown[view.name] = view
    return list(shown.values())


def _by_interest(
    tree: TreeView, present: Sequence[BranchView], rating: Rating
) -> Iterator[BranchView]:
    yield from (view for view in present if view.name == tree.run.default_branch)
    yield from (view for view in present if view.origin is None)
    yield from (view for view in present if view.branch.pinned_at is not None)
    yield from (view for view in reversed(present) if view.is_live)
    yield from (view for view in reversed(present) if view.status in _OPEN)
    best = rating.best_first(present)
    firsts = _first_of_groups(best)
    for pair in zip_longest(firsts, _first_of_groups(list(reversed(present)))):
        yield from (view for view in pair if view is not None)
    yield from best
    yield from reversed(present)


def _first_of_groups(views: Sequence[BranchView]) -> list[BranchView]:
    """Return the branches but of each group only the first: the others are folded."""
    groups: set[str] = set()
    first = []
    for view in views:
        if not view.group or view.group not in groups:
            first.append(view)
        groups.add(view.group)
    return first


def _missing(
    tree: TreeView, view: BranchView, shown: Mapping[str, BranchView]
) -> Iterator[BranchView]:
    """Return the branch and its ancestors, up to the first one that is shown."""
    return takewhile(lambda each: each.name not in shown, _with_ancestors(tree, view))


def _with_ancestors(tree: TreeView, view: BranchView) -> Iterator[BranchView]:
    current: BranchView | None = view
    while current is not None:
        yield current
        current = tree.parent_of(current)
