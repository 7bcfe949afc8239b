"""Every value that can be changed: where it lives, how it is read, written and put back."""
