"""Descriptors and platforms (OCI image-spec 1.1, "Content Descriptors"; platforms as in "Image Index").

Foreign descriptors: members we do not know are ignored, as the specification asks; what we use is checked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue

__all__ = ["MEDIA_TYPE", "Descriptor", "Platform", "read_annotations"]

MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838 "restricted-name" on both sides of the slash."""


@record
class Platform:
    """What a manifest runs on, in Go's names."""

    os: str
    architecture: str

    @classmethod
    def of(cls, arch: Arch) -> Platform:
        """Return the Linux platform of ``arch``."""
        return cls(os="linux", architecture=arch.go_name)

    @property
    def arch(self) -> Arch:
        """The architecture; raises :class:`IntegrityError` for platforms that Kata has no components for."""
        for arch in Arch:
            if self == Platform.of(arch):
                return arch
        known = ", ".join(f"linux/{arch.go_name}" for arch in Arch)
        msg = f'platform "{self}" is none of {known}'
        raise IntegrityError(msg)

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@record
class Descriptor:
    """What a piece of content is: media type, digest, length in bytes; in an index also its platform."""

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None
    """What kind of artefact a manifest is that is no image; lists of referrers state it."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form; empty members are left out."""
        result: dict[str, JsonValue] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        if self.platform is not None:
            result["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.artifact_type is not None:
            result["artifactType"] = self.artifact_type
        return result

    @classmethod
    def from_dict(cls, value: object, *, where: str = "descriptor") -> Descriptor:
        """Return the descriptor of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = value if isinstance(value, Fields) else Fields(value, where)
        platform = None
        if fields.optional("platform") is not None:
            shown = fields.child("platform")
            platform = Platform(os=shown.text("os"), architecture=shown.text("architecture"))
        return cls(
            media_type=fields.text("mediaType", MEDIA_TYPE),
            digest=fields.digest("digest"),
            size_bytes=fields.integer("size"),
            platform=platform,
            annotations=read_annotations(fields),
            artifact_type=fields.optional_text("artifactType", MEDIA_TYPE),
        )


def read_annotations(fields: Fields) -> dict[str, str]:
    """Return the annotations of any OCI document; absent and null are none."""
    return {} if fields.optional("annotations") is None else fields.text_map("annotations")
