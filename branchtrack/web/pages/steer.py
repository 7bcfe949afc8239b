"""The steer page of a branch: every setting and action that its process declared, and requests.

Nothing here reports that a change happened: the page shows requests and the process's answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from branchtrack import control
from branchtrack.analysis.interventions import recording_of
from branchtrack.core import capabilities, interventions, lifecycle
from branchtrack.core.builtin_settings import declared
from branchtrack.core.records import Request
from branchtrack.core.replays import recording as recordings
from branchtrack.db import requests, runs
from branchtrack.db.views.nearby import cockpit as cockpit_rows
from branchtrack.db.views.nearby.cockpit import BranchNow
from branchtrack.errors import BranchtrackError, InvalidInput
from branchtrack.web.access.guards import actor
from branchtrack.web.events.streams import Cursor
from branchtrack.web.input import forms, query
from branchtrack.web.pages import tree as tree_page
from branchtrack.web.pages import wall
from branchtrack.web.rendering import now, respond
from branchtrack.web.services import services
from branchtrack.web.view import cockpit, log_tail, request_lines, setting_rows
from branchtrack.web.view.setting_rows import SettingRow
from branchtrack.web.view.tree import BranchView

blueprint = Blueprint("steer", __name__)
_REQUESTS, _NODES = 50, 60
#: The pages that have request forms, and are shown again after one.
_PAGES = ("steer", "tree")
_HOLDING = ("pause", "unpause", forms.PAUSE_FREE)


@dataclass(frozen=True)
class Draft:
    """A form that was sent and is shown again, with its errors or a preview."""

    kind: str
    form: Mapping[str, str] = field(default_factory=dict)
    error: BranchtrackError | None = None
    preview: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the name of the form: several kinds of request are made from the first one."""
        return "controls" if self.kind in cockpit.OF_CONTROLS else self.kind


@blueprint.get("/runs/<run>/branches/<branch>/steer")
def show(run: str, branch: str) -> Response:
    """Return the page, or its live part; ``node`` in the address selects the node to rewind to."""
    return render_steer(run, branch)


@blueprint.get("/runs/<run>/branches/<branch>/interventions.jsonl")
def interventions_file(run: str, branch: str) -> Response:
    """Return the changes along a branch, as `branchtrack replay` reads them."""
    with services().database.read() as connection:
        branch_record = runs.find_branch(connection, f"{run}/{branch}")
        recording = recording_of(connection, branch_record)
    answer = Response(recordings.to_text(recording), mimetype="application/jsonl")
    name = f"{run}-{branch}.jsonl".replace("/", "_")
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


@blueprint.post("/runs/<run>/branches/<branch>/steer")
def submit(run: str, branch: str) -> AnyResponse:
    """Submit a request; an invalid one is shown again in its form, on the page that it came from.

    ``back`` in the address names that page.
    """
    form, is_from_tree = (
        forms.pressed(request.form, kind="set"),
        query.choice("back", _PAGES) == "tree",
    )
    try:
        control.submit(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch, form),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
            home=services().config.home,
        )
    except InvalidInput as error:
        if is_from_tree:
            return tree_page.render_tree(run, 422, {"branch": branch, "error": error, "form": form})
        return render_steer(run, branch, Draft(form.get("kind", ""), form, error), 422)
    if is_from_tree:
        # What holds a training is answered beside its buttons, at the top.
        anchor = None if form.get("kind") in _HOLDING else "requests"
        return redirect(url_for("tree.show", run=run, _anchor=anchor), 303)
    kept = _typed(form)
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="controls", **kept), 303)


@blueprint.get("/runs/<run>/branches/<branch>/stop")
def confirm_stop(run: str, branch: str) -> Response:
    """Return the page that asks for confirmation before a branch is stopped."""
    with services().database.read() as connection:
        branch_now = cockpit_rows.read(connection, run, branch)
        view = _view(branch_now)
        if not view.is_live:
            # This raises the error that says why the branch cannot be stopped.
            control.live_segment(connection, branch_now.branch)
    return respond("steer/stop.html", run=run, view=view, when=request.args.get("when", "now"))


@blueprint.post("/runs/<run>/branches/<branch>/steer/preview")
def preview(run: str, branch: str) -> AnyResponse:
    """Show what a form would request; nothing is sent."""
    form = forms.pressed(request.form, kind="set")
    kind = form.get("kind", "")
    try:
        result = control.preview(
            services().database,
            f"{run}/{branch}",
            _payload(run, branch, form),
            actor=actor(),
            reason=form.get("reason", ""),
            when=forms.conditions(form),
            home=services().config.home,
        )
    except InvalidInput as error:
        return render_steer(run, branch, Draft(kind, form, error), 422)
    if result["valid"]:
        return render_steer(run, branch, Draft(kind, form, preview=result))
    problem = result["error"]
    refusal = BranchtrackError(
        problem["what"], safe="Nothing was requested.", fix=problem["fix"], field=problem["field"]
    )
    return render_steer(run, branch, Draft(kind, form, refusal), 422)


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> AnyResponse:
    """Ask for the cancellation of a request; its process says whether that was in time."""
    request_record = control.cancel(services().database, request_id, actor=actor())
    with services().database.read() as connection:
        run = runs.get_run(connection, request_record.run_id).name
        branch = runs.get_branch(connection, request_record.branch_id).name
    return redirect(url_for("steer.show", run=run, branch=branch, _anchor="requests"), 303)


def _payload(run: str, branch: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form requests of a branch; if that does not train, as it was typed."""
    with services().database.read() as connection:
        record = runs.find_branch(connection, f"{run}/{branch}")
        if not interventions.has_settings(form.get("kind", "")):
            return forms.intervention(form, {}, {})
        segment = control.live_segment(connection, record)
        return forms.intervention(form, declared(segment.declared), segment.settings)


def render_steer(run: str, branch: str, draft: Draft | None = None, status: int = 200) -> Response:
    """Return the page of a branch; ``draft`` is the form that was sent, shown as it was typed."""
    database, is_draft = services().database, draft is not None
    draft = draft or _filled_in(request.args)
    with database.read() as connection:
        branch_now = cockpit_rows.read(connection, run, branch)
        view = _view(branch_now)
        branch_id, segment = view.branch.id, view.segment
        recent = requests.list_of_run(connection, branch_now.run.id, _REQUESTS, branch_id=branch_id)
        values = (
            cockpit_rows.newest_values(connection, segment.id, cockpit.SERIES) if segment else {}
        )
        chosen = draft.form.get("node", "") if draft.kind == "rewind" else ""
        choices, are_more = cockpit_rows.newest_nodes(
            connection, branch_now.run.id, _NODES if view.is_live else 0, chosen
        )
    listed = _refreshed(branch_now, recent)
    rows, others = setting_rows.split(setting_rows.grouped(view, branch_now.used))
    launch = branch_now.launch
    return respond(
        "steer/index.html",
        status,
        run=branch_now.run,
        view=view,
        draft=draft,
        is_draft=is_draft,
        part=request.args.get("part"),
        gauges=cockpit.gauges(branch_now, values, now()),
        launch=launch,
        log=log_tail.tail(services().config, launch) if launch else "",
        rows=rows,
        groups=others,
        are_others_typed=_are_typed(others, draft),
        used_step=branch_now.used.get("step"),
        later=[item for item in view.settings.values() if not item.live],
        requests=listed,
        most_requests=_REQUESTS,
        described={item.id: request_lines.describe_request(item) for item in listed},
        offered=capabilities.read(segment.offers if segment else {}),
        nodes=choices,
        are_more=are_more,
        charts=wall.around(branch_now.run.name, branch),
        followed=wall.FOLLOWED,
        cursor=_cursor(branch_now),
        prefix=forms.PREFIX,
        argument=forms.ARGUMENT,
        factors=cockpit.factors,
        answer_words=cockpit.answer_words,
        now=now,
    )


def _are_typed(groups: Mapping[str, Sequence[SettingRow]], draft: Draft) -> bool:
    """Return whether a form that was sent has values in the fields of these settings."""
    typed = forms.touched(draft.form) if draft.name == "controls" else {}
    return any(row.setting.name in typed for rows in groups.values() for row in rows)


def _cursor(branch_now: BranchNow) -> Cursor:
    """Return where the stream begins: what was logged before is in the charts."""
    segment = branch_now.segment
    steps = (segment.step,) * len(wall.FOLLOWED) if segment else ()
    return Cursor(branch_now.cursor, {segment.id: steps} if segment else {})


def _view(branch_now: BranchNow) -> BranchView:
    segment, launch = branch_now.segment, branch_now.launch
    status = "empty" if segment is None else lifecycle.segment_status(segment, now())
    return BranchView(branch_now.branch, segment, status, branch_now.head, None, launch=launch)


def _filled_in(values: Mapping[str, str]) -> Draft:
    """Return the draft that an address describes: a node to rewind to, or values of settings."""
    if values.get("node"):
        return Draft("rewind", {"node": values["node"]})
    return Draft("set", {name: text for name, text in values.items() if name.startswith("set.")})


def _typed(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of settings that were typed, but are no part of what was requested."""
    if interventions.has_settings(form.get("kind", "")):
        return {}
    return {forms.PREFIX + name: typed for name, typed in forms.touched(form).items()}


def _refreshed(branch_now: BranchNow, recent: Sequence[Request]) -> Sequence[Request]:
    """Return the requests, none of them as waiting for a process that is gone."""
    database = services().database

    def reload() -> Sequence[Request]:
        with database.read() as connection:
            return requests.list_of_run(
                connection, branch_now.run.id, _REQUESTS, branch_id=branch_now.branch.id
            )

    known = {} if branch_now.segment is None else {branch_now.segment.id: branch_now.segment}
    every = request_lines.segments_of(database, recent, known)
    return request_lines.refresh_if_orphaned(database, recent, every, now(), reload)
