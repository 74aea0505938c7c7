"""Placeholder docstring for bundle."""
