"""Pages about trials: ordered, watched, kept or removed, and all of a run."""
