"""Measures: a corpus of distribution packages, peers in turn, one report (docs/reference/benchmarks.md)."""
