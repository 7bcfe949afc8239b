"""The types of columns, and what names the constraints of tables."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, String

from branchtrack.core.names import LONGEST_METRIC

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ID = String(16)
DIGEST = String(64)
#: The columns that `seals` writes.
SEAL = String(16)
#: SQLite keeps texts of any length, and cannot alter their declared length.
METRIC = String(LONGEST_METRIC).with_variant(String(200), "sqlite")
#: SQLite numbers rows by itself only in a column that is spelled INTEGER.
SEQ = BigInteger().with_variant(Integer, "sqlite")
