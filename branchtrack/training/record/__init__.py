"""All I/O of a training process: metric points, requests, nodes, outages."""
