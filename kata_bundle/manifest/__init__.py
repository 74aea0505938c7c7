"""Placeholder docstring for manifest."""
