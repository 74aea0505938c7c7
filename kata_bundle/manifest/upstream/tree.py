"""Read an upstream tree into one value.

Knows: which readers there are and which files they want. Must not know: what rules make of the facts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream.facts import Listing, UpstreamTree
from kata_bundle.manifest.upstream.readers import scripts, structs, versions, workflows
from kata_bundle.manifest.upstream.readers.chart import read_chart, read_manifest_lists, read_profiles
from kata_bundle.manifest.upstream.readers.classes import read_class_files, read_example_classes, read_overheads
from kata_bundle.manifest.upstream.readers.componentmap import read_component_map
from kata_bundle.manifest.upstream.readers.installer import read_installer
from kata_bundle.manifest.upstream.readers.localbuild import read_local_build
from kata_bundle.manifest.upstream.readers.release import read_allowlists
from kata_bundle.manifest.upstream.readers.runtimes import read_runtimes
from kata_bundle.manifest.upstream.readers.verity import read_verity
from kata_bundle.manifest.upstream.texts import Reading

if TYPE_CHECKING:
    from kata_bundle.core.diagnostics import Report
    from kata_bundle.manifest.upstream.source import Files

__all__ = ["read_tree"]

_WANTED: Final = re.compile(
    r"versions\.yaml|VERSION|utils\.mk"
    r"|tools/packaging/kata-deploy/.*\.(?:json|yaml|sh|rs)|tools/packaging/kata-deploy/local-build/Makefile"
    r"|tools/packaging/static-build/shim-v2/build\.sh"
    r"|src/runtime(?:-rs)?/(?:Makefile|[a-z]+\.mk|VERSION|(?:arch|config)/.*)"
)


def read_tree(files: Files, *, ask_make: bool = False) -> tuple[UpstreamTree, Report, Reading]:
    """Return the facts of a tree, what its readers found, and the reading itself (for places and texts).

    With ``ask_make``, make itself is started in a sandbox to say what variables are.
    """
    names = files.names
    wanted = (_WANTED.fullmatch, structs.is_wanted, workflows.is_wanted, versions.is_wanted, scripts.is_wanted)
    files.prefetch(name for name in names if any(test(name) for test in wanted))
    reading = Reading(files, ask_make=ask_make)
    cells, map_list = read_component_map(reading)
    installer, installer_lists = read_installer(reading)
    chart, chart_lists = read_chart(reading)
    overheads, overhead_list, repeated = read_overheads(reading)
    classes, class_list = read_class_files(reading)
    matrices, expressions, lone = workflows.read_matrices(reading)
    lists: list[Listing] = [
        *([map_list] if map_list is not None else []),
        *installer_lists,
        *chart_lists,
        *read_manifest_lists(reading),
        *([overhead_list] if overhead_list is not None else []),
        *([class_list] if class_list is not None else []),
    ]
    tree = UpstreamTree(
        cells=cells,
        shim_lists=tuple(lists),
        installer=installer,
        chart=chart,
        profiles=tuple(read_profiles(reading)),
        overheads=overheads,
        repeated_overheads=tuple(repeated),
        classes=tuple(classes),
        class_names=tuple(read_example_classes(reading)),
        allowlists=tuple(read_allowlists(reading)),
        matrices=tuple(matrices),
        expressions=tuple(expressions),
        lone_values=tuple(lone),
        artefacts=tuple(workflows.read_artefacts(reading)),
        local_build=read_local_build(reading),
        runtimes=read_runtimes(reading),
        versions=versions.read_versions(reading),
        verity=read_verity(reading),
        scripts=tuple(scripts.read_scripts(reading)),
        given_names=scripts.read_given_names(reading),
        functions=scripts.read_functions(reading),
        names=names,
    )
    return tree, reading.report, reading
