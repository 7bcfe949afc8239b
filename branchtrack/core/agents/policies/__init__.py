"""Policies: rules that look at a view of a run and decide. They know no database and no process."""
