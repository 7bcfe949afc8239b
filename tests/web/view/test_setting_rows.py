"""Where a setting stands on the steer page follows from its declaration."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.core.builtin_settings import DATA, DROPOUT, HORIZON, LR, MAX_STEPS, at_once
from branchtrack.core.settings import Setting
from branchtrack.web.view import setting_rows
from branchtrack.web.view.tree import TreeView
from tests.web.conftest import Site


def view_of(site: Site, *settings: Setting) -> setting_rows.BranchView:
    """The branch of a small tree, as a process that declared these settings trains it."""
    from branchtrack.db.tables import segments
    from branchtrack.db.views import tree_outline
    from branchtrack.db.views.tree_nodes import TreeNodes

    rows = [setting.as_dict() for setting in settings]
    with site.database.transaction() as connection:
        connection.execute(segments.update().values(declared=rows))
        outline = tree_outline.trees(connection, ["digits"])["digits"]
    view = TreeView(outline, TreeNodes(), 0.0).named("main")
    assert view is not None
    return view


def names(groups: dict[str, list[setting_rows.SettingRow]]) -> dict[str, list[str]]:
    return {name: [row.setting.name for row in rows] for name, rows in groups.items()}


def test_settings_stand_in_their_groups_and_details_last(own: Site) -> None:
    view = view_of(
        own,
        Setting("temperature"),
        replace(LR, name="group0.lr", detail=True),
        at_once(HORIZON),
        replace(LR, name="critic.lr"),
        Setting("data.noise", group=DATA),
        Setting("odd", group="of another version"),
    )
    assert names(setting_rows.grouped(view, {})) == {
        "Optimizer": ["critic.lr"],
        "Schedule and length": ["horizon"],
        "Data": ["data.noise"],
        setting_rows.OWN: ["temperature", "odd"],
        setting_rows.DETAILS: ["group0.lr"],
    }


def test_what_only_a_resume_can_change_is_left_out(own: Site) -> None:
    assert setting_rows.grouped(view_of(own, MAX_STEPS), {}) == {}


def test_a_row_has_what_is_set_and_what_was_used(own: Site) -> None:
    used = {"lr": 0.004, "lr_now": 0.002}
    (row,) = setting_rows.grouped(view_of(own, LR), used)["Optimizer"]
    assert (row.value, row.used, row.used_now) == (0.005, 0.004, 0.002)


def test_the_short_form_has_frequent_settings_and_no_details(own: Site) -> None:
    detail = replace(DROPOUT, name="model.0.p", detail=True)
    view = view_of(own, detail, Setting("temperature"), LR, DROPOUT)
    assert list(view.short_settings) == ["lr", "dropout"]
    assert list(view_of(own, Setting("temperature")).short_settings) == ["temperature"]


def test_what_is_frequent_and_the_script_s_own_stay_open(own: Site) -> None:
    own_settings = (Setting("temperature"), Setting("prompt", dtype="str"))
    view = view_of(own, LR, replace(LR, name="group0.lr", detail=True), DROPOUT, *own_settings)
    first, others = setting_rows.split(setting_rows.grouped(view, {}))
    assert [row.setting.name for row in first] == ["lr", "dropout", "temperature"]
    assert names(others) == {setting_rows.OWN: ["prompt"], setting_rows.DETAILS: ["group0.lr"]}


def test_where_none_is_frequent_the_first_few_stay_open(own: Site) -> None:
    view = view_of(own, at_once(HORIZON), at_once(MAX_STEPS))
    first, others = setting_rows.split(setting_rows.grouped(view, {}))
    assert len(first) == 2 and others == {}
