"""Trees, nodes, requests and comparisons as pages and the API show them."""
