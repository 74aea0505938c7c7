"""Findings in the forms that other programs read: SARIF 2.1.0, workflow commands that annotate a pull request, JUnit XML.

Knows: the formats. Must not know: where findings come from.

Formats: SARIF 2.1.0 (OASIS standard); ``::error file=…`` workflow commands; the XML that test reports are exchanged in, as the
common consumers take it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kata_bundle.core.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.core.diagnostics import Finding, Report, Span
    from kata_bundle.manifest.rules import Rule

__all__ = ["github_text", "junit_text", "sarif_document"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning"}


def sarif_document(
    report: Iterable[Finding], rules: Mapping[str, Rule], *, version: str, accepted: Iterable[tuple[Finding, str]] = ()
) -> dict[str, Any]:
    """Return a SARIF log with one run. What is accepted is in it, suppressed with its reason. Columns count characters."""
    results = [(finding, None) for finding in report] + [(finding, reason) for finding, reason in accepted]
    used = sorted({finding.code for finding, _ in results})
    index = {code: i for i, code in enumerate(used)}
    driver = {
        "name": "kata-bundle",
        "semanticVersion": version,
        "rules": [_sarif_rule(code, rules.get(code)) for code in used],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, index[finding.code], reason) for finding, reason in results],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_rule(code: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": rule.explanation},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _sarif_result(finding: Finding, index: int, reason: str | None) -> dict[str, Any]:
    text = finding.message + (f" ({finding.hint})" if finding.hint else "")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [_sarif_location(finding.span)],
        # What stays the same when lines move, so that a consumer knows an old finding again.
        "partialFingerprints": {"key/v1": f"{finding.code}:{finding.span.path}:{finding.span.key}:{finding.message}"},
    }
    if finding.related:
        result["relatedLocations"] = [{"id": i} | _sarif_location(span) for i, span in enumerate(finding.related)]
    if reason is not None:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result


def _sarif_location(span: Span) -> dict[str, Any]:
    uri = quote(span.path)
    physical: dict[str, Any] = {"artifactLocation": {"uri": f"file://{uri}" if span.path.startswith("/") else uri}}
    if span.line:
        column = span.column or 1
        region = {"startLine": span.line, "startColumn": column, "endColumn": column + max(span.length, 1)}
        physical["region"] = region
    location: dict[str, Any] = {"physicalLocation": physical}
    if span.key:
        location["logicalLocations"] = [{"fullyQualifiedName": span.key}]
    return location


def github_text(report: Iterable[Finding]) -> str:
    """Return one workflow command a finding; empty without any."""
    lines = []
    for finding in report:
        span = finding.span
        properties = {"file": span.path, "title": finding.code}
        if span.line:
            column = span.column or 1
            properties |= {"line": str(span.line), "col": str(column), "endColumn": str(column + max(span.length, 1) - 1)}
        message = finding.message + (f"\nhint: {finding.hint}" if finding.hint else "")
        shown = ",".join(f"{key}={_github(value, in_property=True)}" for key, value in properties.items())
        lines.append(f"::{_LEVELS[finding.severity]} {shown}::{_github(message)}")
    return "\n".join(lines)


def _github(text: str, *, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_text(report: Report, rules: Mapping[str, Rule]) -> str:
    """Return a test report: one case a rule, which fails when it found an error; warnings are its output."""
    found: dict[str, list[Finding]] = {code: [] for code in sorted(rules)}
    for finding in report:
        found.setdefault(finding.code, []).append(finding)
    failures = sum(any(f.severity is Severity.ERROR for f in findings) for findings in found.values())
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    counts = f'tests="{len(found)}" failures="{failures}" errors="0"'
    lines += [f"<testsuites {counts}>", f'  <testsuite name="kata-bundle check" {counts} skipped="0">']
    for code, findings in found.items():
        rule = rules.get(code)
        name = _attribute(f"{code}: {rule.title}" if rule else code)
        errors = [f for f in findings if f.severity is Severity.ERROR]
        warnings = [f for f in findings if f.severity is not Severity.ERROR]
        if not findings:
            lines.append(f'    <testcase classname="manifests" name={name}/>')
            continue
        place = _attribute(findings[0].span.path)
        lines.append(f'    <testcase classname="manifests" name={name} file={place} line="{findings[0].span.line}">')
        if errors:
            text = "\n".join(f"{f.span}: {f.message}" for f in errors)
            lines.append(f'      <failure type="{code}" message={_attribute(errors[0].message)}>{_element(text)}</failure>')
        if warnings:
            text = "\n".join(f"{f.span}: {f.message}" for f in warnings)
            lines.append(f"      <system-out>{_element(text)}</system-out>")
        lines.append("    </testcase>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"])


def _element(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    return '"' + _element(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;") + '"'
