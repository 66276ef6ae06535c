"""Benchmarks, as ratios in one run on one machine: `make bench`. What limits each: docs/benchmarks.md."""
