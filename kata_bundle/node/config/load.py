"""Ready-made ways from a source of settings to the effective configuration.

Must not know what settings there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.config.environment import environment_settings
from kata_bundle.node.config.problems import Problems
from kata_bundle.node.config.resolve import resolve
from kata_bundle.node.shimfacts import load_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.config.resolve import Effective
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.shimfacts import Facts

__all__ = ["from_environment", "from_file"]


def from_environment(environment: Mapping[str, str], machine: str, files: HostView, facts: Facts | None = None) -> Effective:
    """Return the configuration that the variables in ``environment`` and the container's ``files`` give on ``machine``.

    Raises :class:`ConfigError` with everything that is wrong.
    """
    problems = Problems()
    settings = environment_settings(environment, machine, files, problems)
    return resolve(settings, machine, facts or load_facts(), problems)


def from_file(data: bytes, name: str, machine: str, facts: Facts | None = None) -> Effective:
    """Return the configuration that the settings file ``name`` with content ``data`` gives on ``machine``.

    Raises :class:`ConfigError` with everything that is wrong.
    """
    from kata_bundle.node.config.specfile import file_settings

    problems = Problems()
    settings = file_settings(data, name, machine, problems)
    return resolve(settings, machine, facts or load_facts(), problems)
