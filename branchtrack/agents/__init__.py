"""Agents: policies and language models that watch a run and ask through the door of people."""
