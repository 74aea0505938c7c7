"""How what ``push``, ``pull`` and ``copy`` did is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kata_bundle.oci.registry.transfer import Transfer

__all__ = ["transfer_document", "transfer_text"]

_PAST = {"push": "pushed", "pull": "pulled", "copy": "copied"}


def transfer_document(done: Transfer) -> dict[str, object]:
    """Return the JSON form."""
    return done.to_dict()


def transfer_text(done: Transfer, verb: str, where: str) -> str:
    """Return a few lines: where it is now, and how many bytes moved of how many."""
    from kata_bundle.cli.render import plural, size_text

    what = f"{size_text(done.moved_bytes)} of {size_text(done.total_bytes)} ({done.moved_blobs} of {plural(done.blobs, 'blob')})"
    if done.dry_run:
        lines = [f"would {verb} {what}; nothing was changed", f"would be {where}"]
    elif done.moved_blobs or done.mounted_bytes:
        lines = [f"{_PAST[verb]} {what}", where]
    else:
        lines = ["all blobs were there, none was moved", where]
    if done.mounted_bytes:
        lines.append(f"the registry took {size_text(done.mounted_bytes)} over from another repository")
    if done.tags:
        lines.append(f"{'would be tagged' if done.dry_run else 'tagged'} {', '.join(done.tags)}")
    if done.referrers:
        lines.append(f"with {plural(len(done.referrers), 'attached artefact')}")
    return "\n".join(lines)
