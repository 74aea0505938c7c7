"""Placeholder docstring for plan."""
