"""How every method of the client calls the API: one path, one model of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from branchtrack.client.connection import Connection, segment
from branchtrack.client.problems import answer_of
from branchtrack.errors import InvalidInput
from branchtrack.schemas.runs import Run

Model = TypeVar("Model", bound=BaseModel)
Values = Mapping[str, Any]


class Calls:
    """The calls that the methods of a client are made of."""

    _connection: Connection

    def _get(self, path: str, model: type[Model], **query: Any) -> Model:
        return self._send("GET", path, model, query=query, repeatable=True)

    def _pages(self, path: str, model: type[Any], cursor: str, **query: Any) -> Iterator[Any]:
        """Yield the items of every page."""
        while True:
            page = self._get(path, model, **query)
            yield from getattr(page, model.items)
            if page.next is None:
                return
            query[cursor] = page.next

    def _send(
        self,
        method: str,
        path: str,
        model: type[Model],
        body: Values | None = None,
        *,
        query: Values | None = None,
        repeatable: bool = False,
    ) -> Model:
        present = {name: value for name, value in (query or {}).items() if value is not None}
        content = self._connection.send(method, path, present, body, repeatable=repeatable)
        return answer_of(model, content)

    def _branch(self, ref: str, more: str = "") -> str:
        """Return the path of a branch; of a run it is the default branch."""
        parts = ref.split("/") if isinstance(ref, str) else []
        if len(parts) not in (1, 2) or not all(parts):
            raise InvalidInput("branch", ref, "RUN or RUN/BRANCH")
        run, branch = parts if len(parts) == 2 else (ref, self._default_branch(ref))
        return path_of("/runs/{run}/branches/{branch}", run=run, branch=branch) + more

    def _default_branch(self, run: str) -> str:
        return self._get(path_of("/runs/{run}", run=run), Run).default_branch

    def _run_or_branch(self, ref: str) -> str:
        """Return the path of a run, or of the branch that ``RUN/BRANCH`` names."""
        is_branch = isinstance(ref, str) and "/" in ref
        return self._branch(ref) if is_branch else path_of("/runs/{ref}", ref=ref)


def path_of(route: str, **names: str) -> str:
    """Return a route with names in it, so that none of them leads to another route."""
    return route.format(**{field: segment(field, name) for field, name in names.items()})
