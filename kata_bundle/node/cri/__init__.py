"""Configuration of the node's container runtime: containerd in every distribution, and CRI-O.

Planning only: a host view and a request give host edits, decisions and warnings. Must not write, restart or ask anything.
"""
