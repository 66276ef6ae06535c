"""Batches that a person prepares on a page: files are read into lines, columns become parameters.

The names of columns and the rules for cells are those of the client's `boomerang enqueue`, which shares no code with
the service (tests/webhook/drafts/test_like_client.py compares the two).
"""
