"""Placeholder docstring for store."""
