"""The generation API as a process of its own, with faults on demand.

Written from the provider's pages alone. It shares no code with the service: were a rule misread, both sides would
otherwise agree on the mistake and every test would pass.
"""
