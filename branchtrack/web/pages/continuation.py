"""Going on in the same branch: one button, and a form for a branch that needs another end."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.core.formats import exact_setting
from branchtrack.db import nodes, runs
from branchtrack.db.orders import launchers as profiles
from branchtrack.errors import BranchtrackError, CheckpointError, InvalidInput, LaunchFailed
from branchtrack.web.access.guards import actor
from branchtrack.web.input.forms import KEY, PREFIX, changed_settings, order_id
from branchtrack.web.rendering import respond
from branchtrack.web.services import services
from branchtrack.web.view import launchers

blueprint = Blueprint("continuation", __name__)

#: The fields of the form that are no settings.
FIELDS = ("retries", "reason", "allow_code_change", launchers.FIELD, KEY)


@blueprint.get("/runs/<run>/branches/<branch>/continue")
def form(run: str, branch: str) -> Response:
    """Return the form; ``set.max_steps=...`` in the address fills in a field."""
    return _render_form(run, branch, request.args)


@blueprint.post("/runs/<run>/branches/<branch>/continue")
def order(run: str, branch: str) -> AnyResponse:
    """Order the launch, or show the form with its error; then nothing was changed."""
    submitted = request.form
    try:
        control.continue_branch(
            services().database,
            services().store,
            f"{run}/{branch}",
            actor=actor(),
            settings=_changes(run, branch, submitted),
            reason=submitted.get("reason", ""),
            retries=_retries(submitted.get("retries", "")),
            allow_code_change=bool(submitted.get("allow_code_change")),
            launcher=launchers.chosen(submitted),
            order_id=order_id(submitted, "continue", run, branch, actor().label),
        )
    except InvalidInput as error:
        return _render_form(run, branch, submitted, 422, error)
    except (CheckpointError, LaunchFailed) as error:
        return _render_form(run, branch, submitted, 409, error)
    return redirect(url_for("tree.show", run=run, _anchor=f"branch-{branch}"), 303)


def _changes(run: str, branch: str, submitted: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the form changes, as typed.

    Raises:
        InvalidInput: it has a field that is not of the form.
    """
    for field, text in submitted.items():
        if field not in FIELDS and not field.startswith(PREFIX):
            raise InvalidInput(field, text, f"{', '.join(FIELDS)}, {PREFIX}SETTING")
    with services().database.read() as connection:
        head_id = runs.find_branch(connection, f"{run}/{branch}").head_id
        if head_id is None:
            return {}
        node = nodes.get(connection, head_id)
        settings = control.resume_settings(connection, node)
    return changed_settings(submitted, settings, node.settings)


def _retries(text: str) -> int:
    try:
        return int(text or 0)
    except ValueError:
        raise InvalidInput("retries", text, "a whole number") from None


def _render_form(
    run: str,
    branch: str,
    submitted: Mapping[str, str],
    status: int = 200,
    error: BranchtrackError | None = None,
) -> Response:
    with services().database.read() as connection:
        record = runs.find_branch(connection, f"{run}/{branch}")
        head = None if record.head_id is None else nodes.get(connection, record.head_id)
        places = launchers.choices(profiles.all_of(connection))
    last = None if head is None else head.settings.get("max_steps")
    return respond(
        "continuation/index.html",
        status,
        run=run,
        branch=record,
        head=head,
        max_steps=submitted.get(f"{PREFIX}max_steps", "" if last is None else exact_setting(last)),
        has_end=last is not None,
        retries=submitted.get("retries", "0"),
        reason=submitted.get("reason", ""),
        allow_code_change=bool(submitted.get("allow_code_change")),
        error=error,
        places=places,
        on=submitted.get(launchers.FIELD, ""),
        prefix=PREFIX,
    )
