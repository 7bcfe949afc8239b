"""All I/O of a training process: points, requests, nodes, outages."""
