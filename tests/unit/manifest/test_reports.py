"""Findings in the forms of other programs: valid, complete, and safe whatever stands in a document."""

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from kata_bundle.cli import main
from kata_bundle.cli.reports import github_text, junit_text, sarif_document
from kata_bundle.core.diagnostics import Finding, Report, Severity, Span
from kata_bundle.manifest.rules import REGISTRY

SCHEMA = json.loads((Path(__file__).parents[2] / "fixtures/sarif/sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
NASTY = 'a "b" <c> & 100%: é 😀 \x1b[31m\x00,\r\nnext'


def finding(**changes):
    values = {
        "span": Span(path="m/a b.toml", line=3, column=5, key="x.y", length=4),
        "code": "KB204",
        "message": NASTY,
        "hint": "mind: it",
        "related": (Span(path="/abs/b.toml", line=1, column=1, length=1), Span(path="c.toml")),
    }
    return Finding(**(values | changes))


def report(*findings):
    found = Report()
    found.extend(findings)
    return found


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def damage(folder):
    folder.edit("shim-components.json", '"x86_64":  ["shim-v2-go"]', '"x86_64":  ["shim-v2-go", "kernel-dbug"]')
    folder.edit("components.toml", "[lists]", "[lists]\nspare = []")


def test_sarif_is_valid_and_holds_accepted_findings_with_their_reasons(run, folder):
    damage(folder)
    code, out, _ = run("check", "--manifests", "manifests", "--format", "sarif")
    assert code == 3
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft4Validator)
    [log] = document["runs"]
    results = log["results"]
    open_ = [result for result in results if "suppressions" not in result]
    assert {(r["ruleId"], r["level"]) for r in open_} == {("KB204", "error"), ("KB206", "warning")}
    [unknown] = [result for result in open_ if result["ruleId"] == "KB204"]
    physical = unknown["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "manifests/shim-components.json"
    line = (folder.path / "shim-components.json").read_text().split("\n")[physical["region"]["startLine"] - 1]
    assert line[physical["region"]["startColumn"] - 1 : physical["region"]["endColumn"] - 1] == '"kernel-dbug"'
    assert len(results) - len(open_) > 50
    assert all(r["suppressions"][0]["justification"] for r in results if "suppressions" in r)
    rules = log["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in results)


def test_sarif_of_nothing_and_of_nasty_texts_is_valid():
    for found in (report(), report(finding(), finding(span=Span(path="/x y/ü.toml")), finding(code="KB999"))):
        document = sarif_document(found, REGISTRY, version="1.0.0")
        jsonschema.validate(json.loads(json.dumps(document)), SCHEMA, cls=jsonschema.Draft4Validator)
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in document["runs"][0]["results"]]
    assert set(uris) == {"m/a%20b.toml", "file:///x%20y/%C3%BC.toml"}


def test_the_schema_refuses_what_is_no_sarif():
    document = sarif_document(report(finding()), REGISTRY, version="1.0.0")
    document["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft4Validator)


def test_workflow_commands_stay_on_one_line_and_escape_their_separators():
    text = github_text(
        report(finding(span=Span(path="a,b:c.toml", line=3, column=5, length=4)), finding(severity=Severity.WARNING))
    )
    lines = text.split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("::error file=a%2Cb%3Ac.toml,title=KB204,line=3,col=5,endColumn=8::")
    assert lines[1].startswith("::warning ")
    assert "100%25" in lines[0]
    assert "%0D%0Anext%0Ahint: mind: it" in lines[0]
    assert github_text(report()) == ""


def test_workflow_commands_of_check_name_every_finding(run, folder):
    damage(folder)
    code, out, _ = run("check", "--manifests", "manifests", "--format", "github")
    assert (code, len(out.splitlines())) == (3, 2)
    assert "::error file=manifests/shim-components.json,title=KB204,line=98,col=33" in out


def test_junit_has_a_case_a_rule_and_counts_failures(run, folder):
    damage(folder)
    code, out, _ = run("check", "--manifests", "manifests", "--format", "junit")
    assert code == 3
    root = ElementTree.fromstring(out.encode())
    assert root.tag == "testsuites"
    assert (root.get("failures"), int(root.get("tests"))) == ("1", len(root.findall(".//testcase")))
    [failure] = root.findall(".//failure")
    assert failure.get("type") == "KB204"
    assert "manifests/shim-components.json:98:33" in failure.text
    assert len(root.findall(".//system-out")) == 1


def test_junit_of_nasty_texts_is_well_formed():
    root = ElementTree.fromstring(junit_text(report(finding(), finding(code="KB999")), REGISTRY).encode())
    assert '"b" <c> & 100%' in root.find(".//failure").get("message")


def test_json_findings_have_the_promised_members(run, folder):
    damage(folder)
    document = json.loads(run("check", "--manifests", "manifests", "--format", "json")[1])
    for entry in (*document["findings"], *document["accepted"]):
        assert {"code", "severity", "message", "path", "line", "column", "related"} <= set(entry)
    assert all(entry["reason"] for entry in document["accepted"])
