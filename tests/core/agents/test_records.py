"""Alerts, agents and exchanges as values."""

from __future__ import annotations

from dataclasses import fields

import pytest
from sqlalchemy import Table

from branchtrack.core.agents.records import Agent, Alert, Exchange
from branchtrack.db import tables


@pytest.mark.parametrize(
    ("record", "table"),
    [(Agent, tables.agents), (Alert, tables.alerts), (Exchange, tables.exchanges)],
)
def test_a_record_has_the_columns_of_its_table(record: type, table: Table) -> None:
    assert [field.name for field in fields(record)] == table.c.keys()
