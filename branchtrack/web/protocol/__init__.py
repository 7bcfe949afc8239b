"""The protocol of Interactive Training 2 over our runs: a thin adapter, no logic of its own."""
