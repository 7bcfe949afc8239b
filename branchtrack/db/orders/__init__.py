"""Orders of training processes: launches, the groups they make, the workers that start them."""
