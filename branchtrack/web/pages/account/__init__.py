"""Pages about who asks: their own account, tokens, help."""
