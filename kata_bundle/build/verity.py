"""Root hashes of guest images on their way into the configurations that boot these images.

An image that is measured has, beside it, a line that a kernel needs to check every block of it (dm-verity). A configuration that
names the image states that line, so the component with the configurations needs the component with the image. The line is what
Kata's ``kernel_verity_params`` takes: ``root_hash=…,salt=…,data_blocks=…,data_block_size=…,hash_block_size=…``.

Must not know: rules, stores, how images are made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.facts import ComponentFacts
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["MAX_BYTES", "MeasuredImage", "measured_images", "parse_verity"]

MAX_BYTES: Final = 1024
"""Longest file that is taken for such a line."""

_PREFIX: Final = "/opt/kata/"
_HASH_FILE: Final = "share/kata-containers/root_hash_{variant}.txt"
_LINE: Final = re.compile(
    r"root_hash=[0-9a-f]{64},salt=(?:[0-9a-f]{2}){1,256},data_blocks=(?P<blocks>[1-9][0-9]{0,15})"
    r",data_block_size=(?P<data>[1-9][0-9]{2,6}),hash_block_size=(?P<hash>[1-9][0-9]{2,6})"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredImage:
    """An image that a configuration boots and another component provides."""

    component: str
    hash_file: RelPath
    """Where below ``opt/kata`` that component keeps the line."""


def measured_images(catalog: Catalog, facts: ComponentFacts) -> Mapping[str, MeasuredImage]:
    """Return the measured images that the configurations of ``facts`` name, by their paths as they stand there, sorted."""
    names: set[str] = set()
    for one in facts.configs:
        if one.config.image is not None and one.config.installed_initrd is None:
            names.add(one.config.image)
        names.update(one.config.guest_extension_images)
    found: dict[str, MeasuredImage] = {}
    for name in sorted(names):
        image = _provider(catalog, name.removeprefix(_PREFIX), facts.arch)
        if image is not None:
            found[name] = image
    return found


def parse_verity(data: bytes, *, what: str) -> str:
    """Return the line that a hash file holds; raise :class:`BuildError` for anything but one line of the right form."""
    text = data.decode("ascii", "replace").removesuffix("\n")
    match = _LINE.fullmatch(text)
    if match is None or any(int(size).bit_count() != 1 for size in match.group("data", "hash")):
        msg = f"{what} is no line of dm-verity parameters: {text[:200]!a}"
        raise BuildError(
            msg, hint="expected root_hash=<64 hex>,salt=<hex>,data_blocks=<n>,data_block_size=<2^n>,hash_block_size=<2^n>"
        )
    return text


def _provider(catalog: Catalog, path: str, arch: Arch) -> MeasuredImage | None:
    for component in catalog.components.values():
        if component.variant is not None and arch in component.measured_on and component.provides(path, arch):
            return MeasuredImage(component=component.name, hash_file=parse_relpath(_HASH_FILE.format(variant=component.variant)))
    return None
