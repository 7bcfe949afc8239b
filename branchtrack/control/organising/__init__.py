"""How people organise runs: saved views, and a change taken back."""
