"""Benchmarks: `make bench`. Their ratios come from one run on one machine; see docs/explanation/benchmarks.md."""
