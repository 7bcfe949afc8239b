"""Scripts to start from: what a user's own training looks like with branchtrack."""
