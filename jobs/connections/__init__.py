"""Connections to Redis, Sentinel and the broker, and the translation of their errors."""
