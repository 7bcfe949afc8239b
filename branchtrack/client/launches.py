"""Launches and their queue, through the API."""

from __future__ import annotations

from typing import Any

from branchtrack.client.calls import Calls, Values, path_of
from branchtrack.client.connection import mapping
from branchtrack.schemas.launches import (
    Launch,
    Launcher,
    Launchers,
    LaunchInQueue,
    Log,
    Ordered,
    OrderPreview,
    Queue,
)


class Launches(Calls):
    """Methods that order trainings and follow them."""

    def resume(self, node: str, settings: Values | None = None, **fields: Any) -> list[Launch]:
        """Order one branch from a node, or several; ``fields`` as in `launches.ResumeBody`."""
        body = {**fields, "settings": mapping("settings", settings)}
        path = path_of("/nodes/{node}/resume", node=node)
        ordered = self._send("POST", path, Ordered, body).root
        return ordered if isinstance(ordered, list) else [ordered]

    def preview_resume(
        self, node: str, settings: Values | None = None, **fields: Any
    ) -> OrderPreview:
        """Return what `resume` would order."""
        body = {**fields, "settings": mapping("settings", settings), "dry_run": True}
        return self._send("POST", path_of("/nodes/{node}/resume", node=node), OrderPreview, body)

    def continue_branch(self, branch: str, settings: Values | None = None, **fields: Any) -> Launch:
        """Order a launch that goes on in a branch; ``fields`` as in `launches.ContinueBody`."""
        body = {**fields, "settings": mapping("settings", settings)}
        return self._send("POST", self._branch(branch, "/continue"), Launch, body)

    def launchers(self) -> list[Launcher]:
        """Return the profiles of clusters that ``on`` of an order may name."""
        return self._get("/launchers", Launchers).launchers

    def launches(self) -> Queue:
        """Return the queue: launches that have not ended, the last that have, and workers."""
        return self._get("/launches", Queue)

    def launch(self, launch_id: str) -> LaunchInQueue:
        """Return a launch with its place in the queue, or its progress."""
        return self._get(path_of("/launches/{launch_id}", launch_id=launch_id), LaunchInQueue)

    def log(self, launch_id: str, lines: int = 200) -> str:
        """Return the last lines of what a launch's process printed."""
        path = path_of("/launches/{launch_id}/log", launch_id=launch_id)
        return self._get(path, Log, lines=lines).text

    def cancel_launch(self, launch_id: str) -> Launch:
        """Cancel a launch; one with a process is ended by its worker."""
        path = path_of("/launches/{launch_id}/cancel", launch_id=launch_id)
        return self._send("POST", path, Launch)
