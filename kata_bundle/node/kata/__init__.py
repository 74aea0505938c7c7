"""The Kata configuration that an install generates: directories, links, drop-ins, wrappers, and the checks of their paths.

Knows: configuration files and the node's configuration. Must not know: generations, hosts, container runtimes.
"""

from __future__ import annotations

from kata_bundle.node.kata.check import AbsentPath
from kata_bundle.node.kata.generate import KataConfiguration, kata_configuration
from kata_bundle.node.kata.places import runtime_handlers

__all__ = ["AbsentPath", "KataConfiguration", "kata_configuration", "runtime_handlers"]
