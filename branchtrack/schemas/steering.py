"""What a branch can be asked for: its settings and actions."""

from __future__ import annotations

from typing import Any

from branchtrack.schemas.bases import Answer


class Declaration(Answer):
    """A value that can be given: its type, and what is allowed."""

    name: str
    type: str
    allowed: str
    minimum: float | None
    maximum: float | None
    choices: list[Any]
    unit: str
    effect: str
    live: bool
    detail: bool
    about: str


class Setting(Declaration):
    """A setting: as reported last, as the newest update used it, and as a schedule left it."""

    value: Any
    effective: Any
    effective_now: Any


class Parameter(Declaration):
    """A parameter of an action."""

    required: bool
    default: Any


class Action(Answer):
    """An action that the author of the script registered."""

    name: str
    about: str
    parameters: list[Parameter]


class Settings(Answer):
    """What a branch can be asked for."""

    run: str
    branch: str
    status: str
    step: int | None
    effective_step: int | None
    settings: list[Setting]
    actions: list[Action]
    modules: list[str] | None
    evaluates: bool
