"""What is checked of the answers of a registry: stated digests and types, content, documents.

Must not know: requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core import canonical
from kata_bundle.core.digest import digest_bytes, parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci.descriptor import MEDIA_TYPE, Descriptor
from kata_bundle.oci.registry.errors import ProtocolError

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.registry.answer import Answer
    from kata_bundle.oci.registry.hosts import Endpoint

__all__ = [
    "capability_for",
    "check_content",
    "check_stated",
    "media_type_of",
    "parse_stated",
    "read_json",
    "subject_of",
]


def capability_for(target: str) -> str:
    """Return what a mirror must be good for to be asked: to be believed about a tag is more than to have content."""
    return "pull" if ":" in target else "resolve"


def media_type_of(answer: Answer) -> str:
    """Return the media type that an answer states; raise :class:`ProtocolError` when it states none."""
    found = (answer.header("Content-Type") or "").partition(";")[0].strip()
    if not MEDIA_TYPE.fullmatch(found):
        msg = f"{answer.what}: {answer.origin} does not say what it is (Content-Type)"
        raise ProtocolError(msg)
    return found


def parse_stated(digest: str, what: str) -> Digest:
    """Return a digest that a registry states; raise :class:`ProtocolError` for anything else."""
    try:
        return parse_digest(digest)
    except IntegrityError:
        msg = f"{what}: the registry names it by {digest[:80]!a}, expected a sha256 digest"
        raise ProtocolError(msg) from None


def check_stated(answer: Answer, digest: Digest, target: str) -> None:
    """Raise :class:`IntegrityError` unless ``digest`` is what the answer's head and, if it is a digest, ``target`` say."""
    stated = answer.header("Docker-Content-Digest")
    for expected in (target if ":" in target else None, stated):
        if expected is not None and expected != digest:
            msg = f"{answer.what}: {answer.origin} has content with digest {digest}, expected {expected[:80]}"
            raise IntegrityError(msg)


def check_content(data: bytes, descriptor: Descriptor, server: Endpoint) -> None:
    """Raise :class:`IntegrityError` unless ``data`` is the content that ``descriptor`` names."""
    found = digest_bytes(data)
    if found != descriptor.digest or len(data) != descriptor.size_bytes:
        msg = (
            f"blob {descriptor.digest}: {server.origin} sent {len(data)} bytes with digest {found}, "
            f"expected {descriptor.size_bytes} bytes"
        )
        raise IntegrityError(msg)


def read_json(data: bytes, what: str) -> object:
    """Return the document that a registry sent; raise :class:`ProtocolError` when it is none."""
    try:
        return canonical.loads(data, what=what)
    except IntegrityError as error:
        raise ProtocolError(str(error)) from None


def subject_of(data: bytes) -> Descriptor | None:
    """Return what a manifest or index is attached to, ``None`` for nothing; raises :class:`IntegrityError`."""
    document = canonical.loads(data, what="manifest")
    subject = document.get("subject") if isinstance(document, dict) else None
    return None if subject is None else Descriptor.from_dict(subject, where="manifest.subject")
