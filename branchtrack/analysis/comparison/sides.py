"""What the references of a comparison name, read in one statement, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

from branchtrack.core.names import is_id_prefix
from branchtrack.core.records import Branch, Run
from branchtrack.core.trials.records import GROUP, Trial
from branchtrack.db import nodes, runs
from branchtrack.db.orders import groups, trials
from branchtrack.db.views import rosters
from branchtrack.errors import Ambiguous, NotFound

#: The most lines of a comparison.
MOST = 8
#: Characters of an id.
_WHOLE = 16
#: More references than any comparison has are not looked up at once.
_MOST = 1000


@dataclass(frozen=True)
class Side:
    """A branch, or a node of it; ``head_id`` is the branch's newest node or that node."""

    run: Run
    branch: Branch
    head_id: str | None
    is_node: bool


class Directory:
    """Runs, branches and nodes by reference, with all branches of their runs in ``roster``.

    Names and whole ids are read at once. The beginning of an id, a step, and what does not exist
    are looked up each by itself.
    """

    def __init__(
        self, connection: Connection, refs: Iterable[str], group_refs: Iterable[str] = ()
    ) -> None:
        self._connection = connection
        group_refs = list(group_refs)
        self._group_names = {ref.partition("/")[2] for ref in group_refs}
        unique = list(dict.fromkeys(refs))[:_MOST]
        self._node_ids = {ref: self._node_id(ref) for ref in unique}
        run_refs = {ref.partition("/")[0] for ref in (*unique, *group_refs)}
        node_ids = {node_id for node_id in self._node_ids.values() if node_id}
        self.roster = rosters.read(connection, sorted(run_refs)[:_MOST], sorted(node_ids))

    def side(self, ref: str) -> Side:
        """Return the side of one of the references: ``RUN/BRANCH``, ``RUN``, a node's id, or
        ``BRANCH@STEP``.

        Raises:
            NotFound, Ambiguous: it fits nothing, or several.
        """
        node_id = self._node_ids.get(ref) or ""
        branch = self.roster.branches.get(self.roster.branch_ids.get(node_id, ""))
        if branch is not None and (branch.trashed_at is None or "@" in ref):
            return Side(self._run(branch.run_id), branch, node_id, True)
        run_ref, slash, name = ref.partition("/")
        # What could be the beginning of an id names a branch before it names a run.
        run = self.roster.run(run_ref) if slash or not is_id_prefix(ref) else None
        branch = self.roster.branch(run, name or run.default_branch) if run else None
        if branch is None:
            branch = self._branch_of(ref)
        return Side(self._run(branch.run_id), branch, branch.head_id, False)

    def _branch_of(self, ref: str) -> Branch:
        try:
            return runs.find_branch(self._connection, ref)
        except Ambiguous:
            raise
        except NotFound as error:
            if not error.facts.get("trashed"):
                nodes.refuse_trashed(self._connection, ref)
            raise

    def members(self, group_ref: str) -> dict[str, list[str]]:
        """Return the lines that a group (``RUN/GROUP``) stands for, and the references of each.

        A group is one line. A trial is one for its trainings without a change, and one for each
        change, unless these are more than can be compared.

        Raises:
            NotFound: there is no such run or group, or the group has no branch.
        """
        run_ref, _slash, name = group_ref.partition("/")
        run = self._run(run_ref)
        listed = self.roster.members(run, name)
        if not listed:
            names = [group.name for group in groups.of_run(self._connection, run.id)]
            others = [] if name in names else [f"{run.name}/{other}" for other in names]
            raise NotFound("group", group_ref, others)
        trial = self._trials.get(listed[0].group_id or "")
        return {
            f"{run.name}/{prefix}{name}": [f"{run.name}/{branch.name}" for branch in part]
            for prefix, part in _parts(trial, listed).items()
        }

    @cached_property
    def _trials(self) -> dict[str, Trial]:
        """The trials whose groups are among those that are compared, by the group."""
        kinds = self.roster.group_kinds
        ids = [
            ref
            for ref, name in self.roster.groups.items()
            if name in self._group_names and kinds[ref] == GROUP
        ]
        return trials.of_groups(self._connection, ids) if ids else {}

    def _run(self, ref: str) -> Run:
        run = self.roster.run(ref)
        if run is None:
            run = runs.find_run(self._connection, ref)
            rosters.read(self._connection, [run.id], roster=self.roster)
        return run

    def _node_id(self, ref: str) -> str | None:
        """Return the id of the node that a reference names, or what could be one."""
        if "@" in ref:
            return nodes.find(self._connection, ref).id
        if not is_id_prefix(ref) or len(ref) == _WHOLE:
            return ref if is_id_prefix(ref) else None
        node = nodes.by_prefix(self._connection, ref)
        return None if node is None else node.id


def _parts(trial: Trial | None, listed: Sequence[Branch]) -> dict[str, Sequence[Branch]]:
    """Return the branches of a group by what is before its name: the sides of a trial apart.

    What a killed process has left of a side that was trained again is in none.
    """
    whole = {"": listed}
    if trial is None or len(trial.side_words) > MOST:
        return whole
    parts: dict[str, Sequence[Branch]] = {}
    for index, word in enumerate(trial.side_words):
        own = {pair.sides[index] for pair in trial.pairs}
        ids = {side.branch_id for side in own if side is not None}
        if members := [branch for branch in listed if branch.id in ids]:
            parts[f"{word} of "] = members
    return parts or whole
