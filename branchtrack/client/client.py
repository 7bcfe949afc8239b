"""The client: one method for each thing that the API can do.

Answers are the models of `branchtrack.schemas`. Errors are those of `branchtrack.errors`, with the
sentences of the server. It knows nothing of a home.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import httpx2

from branchtrack.client.agents import Agents
from branchtrack.client.alerts import Alerts
from branchtrack.client.connection import Connection
from branchtrack.client.launches import Launches
from branchtrack.client.managing import Managing
from branchtrack.client.reading import Reading
from branchtrack.client.steering import Steering
from branchtrack.client.trials import Trials
from branchtrack.environment_variables import TOKEN_VARIABLE, URL_VARIABLE


class Client(Reading, Alerts, Steering, Agents, Launches, Trials, Managing):
    """A client of the server at ``url``, which may be a printed address with its token.

    Without ``url`` or ``token`` they are those of the environment. ``timeout`` is for each request
    to the server, in seconds. What only reads is tried again if the server does not answer, and so
    are requests, each of which gets a key.

        with branchtrack.Client("http://127.0.0.1:8642", token) as client:
            client.set("digits/main", {"lr": 3e-4}, reason="loss spikes")

    A branch is named ``RUN`` (its default branch) or ``RUN/BRANCH``, a node by the beginning of its
    id or as ``RUN@STEP``.

    Raises:
        InvalidInput: ``url``, ``token`` or ``timeout`` cannot be one; there is no ``url``.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        url = url or os.environ.get(URL_VARIABLE, "")
        token = token or os.environ.get(TOKEN_VARIABLE)
        self._connection = Connection(url, token, timeout, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()
