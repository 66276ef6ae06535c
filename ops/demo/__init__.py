"""`boomerang-server demo`: 200 jobs through the whole service, against a simulated provider with faults."""
