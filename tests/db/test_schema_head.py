"""The revision that is known without alembic is the newest that there is."""

from __future__ import annotations

import subprocess
import sys

from alembic.script import ScriptDirectory

from branchtrack.db import schema


def test_head_is_alembics_head() -> None:
    scripts = ScriptDirectory.from_config(schema.alembic_config())
    assert scripts.get_heads() == [schema.HEAD]


def test_the_revision_is_known_without_loading_sqlalchemy() -> None:
    code = (
        "import sys, branchtrack.db.schema_head\n"
        "assert not {'sqlalchemy', 'alembic'} & sys.modules.keys(), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
