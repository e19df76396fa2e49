"""The wire: what callers send (`requests`, `queries`) and what they get (`sessions`, `agents`, `usage`)."""
