"""One branch or one node, and what stands around it, whatever else the run has."""
