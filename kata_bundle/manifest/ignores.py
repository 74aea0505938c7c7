"""Accepted findings: ignores.toml names each with its reason.

Knows: findings. Must not know: what they are about. An ignore that matches nothing is itself a finding, so that the file cannot
outlive what it accepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Finding, did_you_mean
from kata_bundle.core.record import replace
from kata_bundle.manifest.rules.reading import IGNORE_REFUSED, IGNORE_UNUSED
from kata_bundle.manifest.rules.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.core.diagnostics import Report
    from kata_bundle.manifest.context import Checked
    from kata_bundle.manifest.models import IgnoreEntry, IgnoresDocument
    from kata_bundle.manifest.rules.registry import Found

__all__ = ["FILE_NAME", "apply_ignores"]

FILE_NAME = "ignores.toml"


def apply_ignores(
    found: list[Found],
    ignores: Checked[IgnoresDocument],
    folder: str,
    report: Report,
    *,
    ran: frozenset[str],
    known_documents: Iterable[str] = (),
) -> tuple[list[Found], list[Found]]:
    """Return what of ``found`` is not accepted, and what is; a wrong or superfluous ignore goes into ``report``.

    ``ran`` has the codes of the rules that could run; only for those is an ignore without a finding one too many.
    ``known_documents`` are the documents of the folder, as findings call them.
    """
    accepted: dict[int, Found] = {}
    owner: dict[int, int] = {}
    documents = {"ignores.toml", *(document.removeprefix(f"{folder}/") for document in known_documents)}
    by_code: dict[str, list[tuple[int, Found]]] = {}
    for number, item in enumerate(found):
        by_code.setdefault(item.rule.code, []).append((number, item))
    for i, entry in enumerate(ignores.model.ignore):
        where = ("ignore", i)
        known = REGISTRY.get(entry.code)
        if known is None or not known.acceptable:
            message = f'"{entry.code}" is not a finding that can be accepted'
            hint = "no catalog can be made with it: repair it" if known else did_you_mean(entry.code, REGISTRY)
            span = ignores.document.span((*where, "code"))
            report.add(Finding(span=span, code=IGNORE_REFUSED, message=message, hint=hint))
            continue
        matching = {
            number: replace(item, reason=entry.reason)
            for number, item in by_code.get(entry.code, ())
            if _matches(entry, item, folder)
        }
        if not matching.keys() - accepted.keys() and entry.code in ran:
            about = f'"{entry.about}"' + (f' and "{entry.also_about}"' if entry.also_about else "")
            message = f"no {'other ' if matching else ''}finding {entry.code} about {about} in {entry.path}"
            near = _nearest(entry, found, folder)
            is_document = entry.path in documents or entry.path.startswith("buildrules/")
            key = where if near is None and is_document else (*where, near[0] if near else "path")
            hint = None if near is None else f"a finding that is not accepted: {near[1].rule.code}: {near[1].problem.message}"
            wider = {owner[number] for number in matching}
            related = tuple(ignores.document.span(("ignore", other, "about")) for other in sorted(wider))
            span = ignores.document.span(key)
            report.add(Finding(span=span, code=IGNORE_UNUSED, message=message, hint=hint, related=related))
        accepted |= matching
        owner |= dict.fromkeys(matching.keys() - owner.keys(), i)
    return [item for number, item in enumerate(found) if number not in accepted], list(accepted.values())


def _nearest(entry: IgnoreEntry, found: list[Found], folder: str) -> tuple[str, Found] | None:
    """Return the key of ``entry`` that keeps it from accepting a finding, when there is one such key, and that finding."""
    for item in found:
        wrong = [key for key, fits in _parts(entry, item, folder) if not fits]
        if len(wrong) == 1 and (wrong[0] != "about" or entry.also_about is not None or item.rule.code == entry.code):
            return wrong[0], item
    return None


def _matches(entry: IgnoreEntry, item: Found, folder: str) -> bool:
    return all(fits for _, fits in _parts(entry, item, folder))


def _parts(entry: IgnoreEntry, item: Found, folder: str) -> tuple[tuple[str, bool], ...]:
    # A build rule is no document of the folder: its path is told from the folder of the build rules' parent.
    path = item.problem.document.path
    in_place = path == f"{folder}/{entry.path}" or (entry.path.startswith("buildrules/") and path.endswith(entry.path))
    return (
        ("code", item.rule.code == entry.code),
        ("path", in_place),
        ("about", f'"{entry.about}"' in item.problem.message),
        ("also_about", entry.also_about is None or f'"{entry.also_about}"' in item.problem.message),
    )
