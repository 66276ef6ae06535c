"""The HTTP API for producers."""
