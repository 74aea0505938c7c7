"""Placeholder docstring for oci."""
