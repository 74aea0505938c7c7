"""Placeholder docstring for archive."""
