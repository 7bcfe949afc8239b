"""Pure values and the decisions made from them: no I/O, no SQL, no torch."""
