"""Labels, checkpoints, the trash and tokens, through the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from branchtrack.client.calls import Calls, path_of
from branchtrack.client.connection import texts
from branchtrack.schemas.access import NewToken, Token, TokenPage
from branchtrack.schemas.nodes import Pin, Verdict
from branchtrack.schemas.runs import Labels
from branchtrack.schemas.storage import Sweep
from branchtrack.schemas.trash import Deletion, Entry, TrashPage


class Managing(Calls):
    """Methods that change the record rather than a training."""

    def label(
        self, ref: str, add_tags: Sequence[str] = (), remove_tags: Sequence[str] = (), **fields: Any
    ) -> Labels:
        """Change what people call a run or ``RUN/BRANCH``; ``fields`` as in `runs.LabelsBody`."""
        tags = {"add_tags": texts("add_tags", add_tags)}
        body = {**fields, **tags, "remove_tags": texts("remove_tags", remove_tags)}
        return self._send("PATCH", self._run_or_branch(ref), Labels, body)

    def tag(
        self, node: str, add: Sequence[str] = (), remove: Sequence[str] = (), reason: str = ""
    ) -> Labels:
        """Change the tags of a node."""
        tags = {"add_tags": texts("add", add), "remove_tags": texts("remove", remove)}
        body = {**tags, "reason": reason}
        return self._send("PATCH", path_of("/nodes/{node}", node=node), Labels, body)

    def pin(self, node: str) -> Pin:
        """Keep the checkpoint of a node whatever the policy of its run."""
        return self._send("POST", path_of("/nodes/{node}/pin", node=node), Pin)

    def unpin(self, node: str) -> Pin:
        """Let the policy of its run decide on a node again."""
        return self._send("DELETE", path_of("/nodes/{node}/pin", node=node), Pin)

    def verify(self, node: str) -> Verdict:
        """Return whether all bytes of a node are as they were written."""
        return self._send("POST", path_of("/nodes/{node}/verify", node=node), Verdict)

    def gc(self, run: str, **policy: Any) -> Sweep:
        """Sweep a run; ``policy`` as in `storage.SweepBody`, without one by its own."""
        return self._send("POST", path_of("/runs/{run}/gc", run=run), Sweep, policy)

    def delete(self, ref: str, *, with_children: bool = False, reason: str = "") -> Deletion:
        """Move a run or ``RUN/BRANCH`` to the trash."""
        query: dict[str, Any] = {"reason": reason}
        query |= {"with_children": with_children} if isinstance(ref, str) and "/" in ref else {}
        return self._send("DELETE", self._run_or_branch(ref), Deletion, query=query)

    def trash(self) -> Iterator[Entry]:
        """Yield what is in the trash, the latest deleted first."""
        yield from self._pages("/trash", TrashPage, "before")

    def restore(self, entry: str, reason: str = "") -> Deletion:
        """Take an entry out of the trash, by its id."""
        path = path_of("/trash/{entry}/restore", entry=entry)
        return self._send("POST", path, Deletion, query={"reason": reason})

    def purge(self, entry: str) -> Entry:
        """Remove an entry of the trash for good."""
        return self._send("DELETE", path_of("/trash/{entry}", entry=entry), Entry)

    def tokens(self) -> Iterator[Token]:
        """Yield every token, without its secret."""
        yield from self._pages("/tokens", TokenPage, "after")

    def create_token(self, name: str, role: str, **fields: Any) -> NewToken:
        """Create a token; its secret is in no other answer."""
        body = {"name": name, "role": role, **fields}
        return self._send("POST", "/tokens", NewToken, body)

    def revoke_token(self, name: str) -> Token:
        """Revoke a token."""
        return self._send("DELETE", path_of("/tokens/{name}", name=name), Token)
