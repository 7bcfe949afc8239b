"""One request carried out on live objects, and what became of it."""
