"""What is asked of forks, from values alone: relative values, lists of values, reversals."""
