"""Rules about RuntimeClasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests

__all__ = ["classes_of_aliases", "shims_without_classes"]


@rule("KB222", "a shim without a RuntimeClass")
def shims_without_classes(manifests: Manifests) -> Iterator[Problem]:
    """A shim that is no alias has no entry in runtimeclasses.toml.

    The chart renders no class for such a shim and says nothing, so that no pod can use it.

    Repair: add the class to runtimeclasses.toml.

    False alarm: none; a shim that is not complete has another status.
    """
    shims = manifests.shims
    document, classes = manifests.runtime_classes.document, manifests.runtime_classes.model.classes
    for name, shim in shims.model.shims.items():
        if shim.status != "alias" and name not in classes:
            message = f'shim "{name}" has no RuntimeClass'
            related = ((shims.document, ("shims", name)),)
            yield Problem(document=document, key=("classes",), message=message, of_key=True, related=related)


@rule("KB223", "a RuntimeClass of an alias")
def classes_of_aliases(manifests: Manifests) -> Iterator[Problem]:
    """runtimeclasses.toml has an entry for an alias, which has the class of the shim it stands for.

    Repair: remove the entry.

    False alarm: none.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    shims = manifests.shims.model.shims
    for name in model.classes:
        if name in shims and shims[name].status == "alias":
            message = f'shim "{name}" is an alias, so it has no RuntimeClass'
            yield Problem(document=document, key=("classes", name), message=message, of_key=True)
