"""Checks every invariant on the running system, and repairs what is safe to repair."""
