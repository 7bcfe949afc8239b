"""Storage as pages and API work with it: sizes, policies as they are entered, sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack import processes
from branchtrack.control import leftovers
from branchtrack.db import runs
from branchtrack.retention import plans, policies
from branchtrack.retention import report as reports
from branchtrack.retention.plans import Plan
from branchtrack.retention.policies import Policy
from branchtrack.retention.sweeps import Sweep, Swept
from branchtrack.web.access.guards import actor
from branchtrack.web.services import services

#: The fields of a policy; empty ones are not part of it.
FIELDS = ("keep", "last", "best_metric", "best_count", "every", "drop_optimizer_after")


def sweep(ref: str, policy: Policy | None) -> Swept:
    """Sweep a run by a policy, or by its own."""
    database, store = services().database, services().store
    with database.read() as connection:
        run = runs.find_run(connection, ref)
    owner = leftovers.pack_owner(database, store, processes.own_name())
    chosen = policies.from_json(run.retention) if policy is None else policy
    return Sweep(database, store, owner, actor()).run(run, chosen)


def plan(ref: str, policy: Policy | None) -> Plan:
    """Return what sweeping a run by a policy, or by its own, would do now."""
    with services().database.read() as connection:
        run = runs.find_run(connection, ref)
        chosen = policies.from_json(run.retention) if policy is None else policy
        return plans.plan(connection, run.id, chosen)


def entered_policy(values: Mapping[str, Any]) -> Policy:
    """Return the policy of a form or a body.

    Raises:
        InvalidInput: names the field.
    """
    entered = {name: values.get(name) for name in FIELDS if values.get(name) not in (None, "")}
    best = (entered.get("best_metric"), entered.get("best_count", 1))
    return policies.policy(
        entered.get("keep"),
        last=entered.get("last"),
        best=best if "best_metric" in entered else None,
        every=entered.get("every"),
        drop_optimizer_after=entered.get("drop_optimizer_after"),
    )


def measure() -> tuple[reports.Report, int]:
    """Return the sizes of everything, and the bytes that killed processes left."""
    database, store = services().database, services().store
    with database.read() as connection:
        report = reports.report(connection, services().config.home)
    return report, leftovers.nbytes(database, store, report.packs)
