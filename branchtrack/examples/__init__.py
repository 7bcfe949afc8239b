"""Example scripts: what a user's own training looks like with branchtrack."""
