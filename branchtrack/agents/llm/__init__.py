"""Language models as agents, behind any endpoint that is compatible with OpenAI's."""
