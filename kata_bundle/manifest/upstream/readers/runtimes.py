"""What the two runtimes' makefiles make of the configuration templates, on every architecture.

Formats: src/runtime and src/runtime-rs: a makefile whose variable ``CONFIGS`` names the configurations, and which replaces
``@VARIABLE@`` in ``config/<name>.in`` for each variable in ``GENERATED_VARS`` (and ``GENERATED_REPLACEMENTS``) by a sed script in
double quotes.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Span
from kata_bundle.core.record import replace
from kata_bundle.manifest.catalog import PREFIX, RuntimeFamily
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Configuration, Item, RuntimeBuild, Template
from kata_bundle.manifest.upstream.make import evaluate, is_known, unknown_reasons
from kata_bundle.manifest.upstream.places import line_span
from kata_bundle.manifest.upstream.readers.rewrites import Rewrite, parse_sed, read_script_rewrites
from kata_bundle.manifest.upstream.readers.structs import read_schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.manifest.upstream.make import Makefile
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["FOLDERS", "read_runtimes", "shell_double_quoted"]

FOLDERS: Final = {RuntimeFamily.GO: "src/runtime", RuntimeFamily.RUST: "src/runtime-rs"}
_LISTS: Final = ("GENERATED_VARS", "GENERATED_REPLACEMENTS")
"""Variables that list the variables that are replaced."""
_VARIABLE: Final = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)@")
_SED_CALL: Final = re.compile(r"\bsed\s+-i\s+(?:-e\s+)?'([^']*)'\s+(\S+)")
_OFFER: Final = re.compile(r"\s*#\s*[a-z_]+\s*=")
_TEXT: Final = re.compile(r'"([^"]*)"')
_MAX_TEMPLATE_LINES: Final = 20_000


def read_runtimes(reading: Reading) -> dict[RuntimeFamily, RuntimeBuild]:
    """Return what each runtime's makefile generates."""
    found: dict[RuntimeFamily, RuntimeBuild] = {}
    schemas = read_schemas(reading)
    for family, folder in FOLDERS.items():
        text = reading.text(f"{folder}/Makefile")
        if text is None:
            reading.not_understood(Span(path=f"{folder}/Makefile"), "the runtime's makefile was not found", code=codes.MISSING)
            continue
        found[family] = replace(_read(reading, family, folder, text), schema=schemas.get(family))
    return found


def _read(reading: Reading, family: RuntimeFamily, folder: str, text: Text) -> RuntimeBuild:
    templates = _templates(reading, family, folder)
    if not templates:
        reading.not_understood(Span(path=f"{folder}/config"), "no configuration templates were found", code=codes.MISSING)
    generated: dict[Arch, dict[str, Item]] = {}
    configurations: dict[tuple[str, Arch], Configuration] = {}
    defined: dict[str, Span] = {}
    replaced: set[str] = set()
    stopped: dict[Arch, Item] = {}
    scripted = read_script_rewrites(reading) if family is RuntimeFamily.GO else []
    for arch in Arch:
        makefile = _evaluate(reading, text.path, arch)
        if makefile is None:
            continue
        for name in makefile.variables:
            places = makefile.places(name)
            if places:
                defined[name] = Span(path=places[-1].path, line=places[-1].line, column=1)
        variables = _replaced(reading, text, makefile)
        replaced |= variables
        if makefile.stops:
            place, message = makefile.stops[0]
            stopped[arch] = Item(message, Span(path=place.path, line=place.line, column=1))
            continue
        generated[arch] = _generated(reading, text, makefile, arch)
        rewrites = [*scripted, *_recipe_rewrites(reading, makefile, arch)]
        for name in generated[arch]:
            template = templates.get(name)
            if template is not None:
                configuration = _configuration(template, arch, makefile, variables, rewrites)
                configurations[name, arch] = configuration
                for variable, reasons in configuration.unknown.items():
                    message = f"the value of {variable} is not known: {'; '.join(reasons)}"
                    span = line_span(template, template.variables[variable][0])
                    reading.not_understood(span, message, code=codes.MAKE)
    return RuntimeBuild(
        family=family,
        makefile=text.path,
        templates=templates,
        generated=generated,
        replaced=frozenset(replaced),
        configurations=configurations,
        defined=defined,
        stopped=stopped,
    )


def _templates(reading: Reading, family: RuntimeFamily, folder: str) -> dict[str, Template]:
    found = {}
    for path in reading.matching(f"{folder}/config/*.toml.in"):
        text = reading.text(path)
        if text is None:
            continue
        lines = tuple(text.text.split("\n")[:_MAX_TEMPLATE_LINES])
        variables: dict[str, list[int]] = {}
        commented: dict[str, list[int]] = {}
        for number, line in enumerate(lines, 1):
            into = commented if line.lstrip().startswith("#") else variables
            for name in _VARIABLE.findall(line):
                into.setdefault(name, []).append(number)
        name = path.rsplit("/", 1)[-1].removesuffix(".in")
        found[name] = Template(
            family=family,
            name=name,
            path=path,
            lines=lines,
            variables={k: tuple(v) for k, v in variables.items()},
            commented={k: tuple(v) for k, v in commented.items()},
        )
    return found


# ---- the makefile -------------------------------------------------------------------------------------------------------------


def _evaluate(reading: Reading, name: str, arch: Arch) -> Makefile | None:
    """Return the makefile as the shim's build script calls make."""
    command_line = {"PREFIX": PREFIX, "QEMUCMD": arch.emulator}
    environment = {"ARCH": arch.value} if "runtime-rs" in name else {}
    makefile = evaluate(
        reading.files,
        name,
        command_line=command_line,
        environment=environment,
        outputs={"uname -m": arch.value, "go version": "", "go version 2>/dev/null": ""},
    )
    if makefile is not None and reading.ask_make:
        _ask(reading, makefile, name, arch, command_line=command_line, environment=environment)
    return makefile


def _ask(
    reading: Reading,
    makefile: Makefile,
    name: str,
    arch: Arch,
    *,
    command_line: Mapping[str, str],
    environment: Mapping[str, str],
) -> None:
    """Have make itself say what the variables are; report where it says otherwise than we do."""
    from kata_bundle.core.errors import BuildError
    from kata_bundle.manifest.upstream.make.sandbox import ask_make

    replaced = {v for list_ in _LISTS for v in makefile.get(list_).split()}
    try:
        said = ask_make(
            reading.files,
            name,
            machine=arch.value,
            command_line=command_line,
            environment=environment,
            variables={*replaced, *_LISTS, "CONFIGS"},
        )
    except BuildError as error:
        if not makefile.stops:
            reading.not_understood(Span(path=name), f"make itself says nothing on {arch}: {error}", code=codes.MAKE)
        return
    for variable, value in said.items():
        mine = makefile.get(variable)
        if is_known(mine) and mine.split() != value.split():
            place = makefile.places(variable)
            span = Span(path=place[-1].path, line=place[-1].line, column=1) if place else Span(path=name)
            message = f'make itself says that {variable} is "{value}" on {arch}, not "{mine}"'
            reading.not_understood(span, message, code=codes.MAKE)
    makefile.said = said


def _replaced(reading: Reading, text: Text, makefile: Makefile) -> set[str]:
    names: set[str] = set()
    for variable in _LISTS:
        value = makefile.get(variable)
        if not is_known(value):
            reading.not_understood(_place(text, makefile, variable), _because(variable, value), code=codes.MAKE)
        names.update(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", value) if is_known(value) else ())
    if not names:
        reading.not_understood(text.line_span(1), "expected the variables to replace in GENERATED_VARS")
    return names | {"COMMIT"}  # replaced by a call of its own


def _generated(reading: Reading, text: Text, makefile: Makefile, arch: Arch) -> dict[str, Item]:
    value = makefile.get("CONFIGS")
    if not is_known(value):
        reading.not_understood(_place(text, makefile, "CONFIGS"), _because("CONFIGS", value), code=codes.MAKE)
        return {}
    if not value.split():
        problems = "; ".join(message for _, message in makefile.problems[:2])
        reason = f": {problems}" if problems else ""
        reading.not_understood(text.line_span(1), f"CONFIGS names no configuration on {arch}{reason}", code=codes.MAKE)
    found = {}
    for word in value.split():
        # Anything but config/NAME is not what templates make: such a word is kept whole, and matches none.
        name = word.removeprefix("config/")
        match = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text.text)
        span = text.line_span(1) if match is None else text.span(match.start(), match.end())
        found[name] = Item(name, span)
    return found


def _place(text: Text, makefile: Makefile, variable: str) -> Span:
    places = makefile.places(variable)
    return Span(path=places[-1].path, line=places[-1].line, column=1) if places else text.line_span(1)


def _because(variable: str, value: str) -> str:
    return f"the value of {variable} is not known: {'; '.join(unknown_reasons(value))}"


def _recipe_rewrites(reading: Reading, makefile: Makefile, arch: Arch) -> list[Rewrite]:
    found = []
    for target in makefile.targets:
        if target.name != "install-configs":
            continue
        for line in target.recipe:
            if not re.search(r"\bsed\s+-i\b", line):
                continue
            expanded = makefile.expand(line)
            match = _SED_CALL.search(expanded) if is_known(expanded) else None
            rewrite = None if match is None else parse_sed(match.group(1))
            if match is None or rewrite is None:
                span = Span(path=target.place.path, line=target.place.line, column=1)
                reading.not_understood(span, "a change of configurations in this recipe is not understood")
                continue
            found.append(replace(rewrite, names=(match.group(2).rsplit("/", 1)[-1],), arch=arch))
    return found


# ---- a configuration ----------------------------------------------------------------------------------------------------------


def shell_double_quoted(text: str) -> str:
    """Return what a shell makes of ``text`` that stands between double quotes: quotes inside end and begin quoting."""
    out: list[str] = []
    quoted, at = True, 0
    while at < len(text):
        c = text[at]
        if c == '"':
            quoted = not quoted
        elif c == "\\" and at + 1 < len(text) and (not quoted or text[at + 1] in '"\\$`'):
            at += 1
            out.append(text[at])
        else:
            out.append(c)
        at += 1
    return "".join(out)


def _configuration(
    template: Template, arch: Arch, makefile: Makefile, variables: set[str], rewrites: list[Rewrite]
) -> Configuration:
    unknown: dict[str, tuple[str, ...]] = {}
    values: dict[str, str] = {}
    unset: dict[str, tuple[int, ...]] = {}
    for name in {**template.commented, **template.variables}:
        if name not in variables:
            continue
        value = makefile.get(name)
        if not is_known(value):
            if name in template.variables:
                unknown[name] = unknown_reasons(value)
            continue
        if makefile.value(name) is None and name in template.variables:
            unset[name] = template.variables[name]
        values[name] = shell_double_quoted(value)
    lines = [_VARIABLE.sub(lambda m: values.get(m.group(1), m.group()), line) for line in template.lines]
    for rewrite in rewrites:
        if rewrite.applies(template.name, arch):
            rewrite.apply(lines)
    data, problem = _parsed(lines)
    offered = frozenset(
        value for line in lines if line.lstrip().startswith("#") and _OFFER.match(line) for value in _TEXT.findall(line)
    )
    return Configuration(template=template, arch=arch, data=data, problem=problem, unset=unset, unknown=unknown, offered=offered)


def _parsed(lines: list[str]) -> tuple[Mapping[str, object] | None, tuple[int, str] | None]:
    # Comments are most of a template: without them it is read in a tenth of the time.
    text = "\n".join("" if line.startswith("#") else line for line in lines)
    try:
        return tomllib.loads(text), None
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        message = re.sub(r" \(at .*\)$", "", str(error))
        return None, (int(match.group(1)) if match else len(lines), message[:1].lower() + message[1:])
    except (RecursionError, ValueError) as error:
        return None, (1, f"it cannot be read: {type(error).__name__}")
