"""Placeholder docstring for build."""
