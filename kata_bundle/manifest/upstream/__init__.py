"""Upstream trees: read upstream's own files of any year since 2023, and compare the lists that ought to agree."""
