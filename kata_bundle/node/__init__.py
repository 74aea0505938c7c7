"""Placeholder docstring for node."""
