"""Whether every invariant holds on the running system, and the repair of what is safe to repair."""
