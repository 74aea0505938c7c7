"""The configuration of an install: from environment variables or a settings file to one checked value.

::

    environment_settings | file_settings | command line  ->  Settings  ->  resolve  ->  NodeConfig

Must not know: what is done with it.
"""

from __future__ import annotations

from kata_bundle.node.config.load import from_environment, from_file
from kata_bundle.node.config.model import CustomRuntime, NodeConfig
from kata_bundle.node.config.problems import ConfigError, Problem
from kata_bundle.node.config.resolve import Effective, resolve
from kata_bundle.node.config.settings import Given, Origin, OriginKind, Settings

__all__ = [
    "ConfigError",
    "CustomRuntime",
    "Effective",
    "Given",
    "NodeConfig",
    "Origin",
    "OriginKind",
    "Problem",
    "Settings",
    "from_environment",
    "from_file",
    "resolve",
]
