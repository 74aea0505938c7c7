"""A client of OCI registries (distribution-spec 1.1) over urllib3. Importing it opens nothing and brings in no HTTP library."""

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
