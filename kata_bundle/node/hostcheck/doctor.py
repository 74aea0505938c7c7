"""The whole host check as a person asks for it: gather from the host at a root directory, then judge. Reads only.

Must not know: how the answer is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.cri.compose import cri_request
from kata_bundle.node.cri.layouts import host_config_dir
from kata_bundle.node.hostcheck.check import check_host
from kata_bundle.node.hostcheck.gather import gather_evidence, gather_facts, version_from_cri
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.systemd import open_systemd

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.hostcheck.check import HostReport

__all__ = ["examine"]


def examine(config: NodeConfig, *, root: str = "/", warn: Callable[[str], None]) -> HostReport:
    """Return what the host below ``root`` has to say to an install with ``config``; ``warn`` is told what could not be asked."""
    evidence = gather_evidence(config, lambda: open_systemd(root), [lambda: version_from_cri(root)], warn=warn)
    facts = gather_facts(config, evidence, root=root)
    shims = load_facts()
    return check_host(
        config,
        facts,
        lambda runtime, version: cri_request(
            config, shims, runtime=runtime, version=version, config_dir=host_config_dir(runtime)
        ),
    )
