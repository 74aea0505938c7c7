"""Readers of an upstream tree, one module per kind of source. Each returns facts and reports what it did not understand."""
