"""One request carried out on live objects, and its result."""
