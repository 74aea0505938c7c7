"""Placeholder docstring for generate."""
