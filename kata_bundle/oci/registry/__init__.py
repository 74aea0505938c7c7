"""A client of OCI registries (distribution-spec 1.1) over urllib3. Importing it opens nothing and brings in no HTTP library.

What it exports is imported when it is first used: commands that may talk to a registry mostly do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.oci.registry.bundle import RemoteBundle, open_remote_bundle
    from kata_bundle.oci.registry.client import RegistryClient, RemoteDocument, Repository
    from kata_bundle.oci.registry.errors import (
        DeniedError,
        NotFoundError,
        ProtocolError,
        RegistryError,
        RegistryStatusError,
        UnreachableError,
    )
    from kata_bundle.oci.registry.reference import Reference, is_reference, parse_place, parse_reference
    from kata_bundle.oci.registry.settings import Limits, RegistrySettings

__all__ = [
    "DeniedError",
    "Limits",
    "NotFoundError",
    "ProtocolError",
    "Reference",
    "RegistryClient",
    "RegistryError",
    "RegistrySettings",
    "RegistryStatusError",
    "RemoteBundle",
    "RemoteDocument",
    "Repository",
    "UnreachableError",
    "is_reference",
    "open_remote_bundle",
    "parse_place",
    "parse_reference",
]

_MODULES = {
    "bundle": ("RemoteBundle", "open_remote_bundle"),
    "client": ("RegistryClient", "RemoteDocument", "Repository"),
    "errors": ("DeniedError", "NotFoundError", "ProtocolError", "RegistryError", "RegistryStatusError", "UnreachableError"),
    "reference": ("Reference", "is_reference", "parse_place", "parse_reference"),
    "settings": ("Limits", "RegistrySettings"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{module}"), name)
