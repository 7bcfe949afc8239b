"""What is kept of checkpoints: policies, the sweep that carries them out, the sizes of a store.

It starts no process: what was thinned is rebuilt in `launching`.
"""
