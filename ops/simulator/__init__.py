"""A simulated provider: the generation API as a process of its own, with faults on demand.

It is written from the provider's published pages and shares no code with the service. If it did, a misread rule would
stand on both sides, and every test would still pass.
"""
