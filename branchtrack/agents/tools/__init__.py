"""The tools of coding agents: few, each folding several calls of the API into a small answer."""
