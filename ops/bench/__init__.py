"""Benchmarks, as ratios in one run on one machine: `make bench`. What limits each: docs/explanation/benchmarks.md."""
