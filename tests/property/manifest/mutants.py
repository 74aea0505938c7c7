"""Single mistakes in a folder of valid manifests, made without knowing any rule.

Each mutator does to the text what a hurried person does: drop, rename, misspell, swap, duplicate, move to another architecture,
change a number or a unit, break the syntax. Which of its results are mistakes is decided by data alone: a mutant that stands for
the same data (lists without their order, documents without comments), or that resolves to the same catalog, is none.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kata_bundle.manifest.json_scanner import scan_json
from kata_bundle.manifest.toml_scanner import scan_toml

FILES = (
    "shim-components.json",
    "shims.toml",
    "components.toml",
    "runtimeclasses.toml",
    "upstream.toml",
    "ignores.toml",
    "arches/aarch64.toml",
    "arches/ppc64le.toml",
    "arches/s390x.toml",
    "arches/x86_64.toml",
)
ARCHES = ("x86_64", "aarch64", "s390x", "ppc64le")
PROSE = frozenset(("_comment", "notes", "build_flags", "input_integrity", "optional", "reason", "left_out", "extra_cache_tag"))
"""Keys whose values are sentences for people: other words in them are no mistake that a program could find."""


@dataclass(frozen=True)
class Mutant:
    """A mistake: the operator, the file's new text, and the lines at which a finding is in the right place."""

    operator: str
    file: str
    text: str
    lines: frozenset[int]
    what: str


@dataclass(frozen=True)
class _Node:
    path: tuple[str | int, ...]
    start: int
    end: int
    line: int
    is_key: bool


class _Source:
    """A document's text with the offsets of its keys and scalars."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.is_json = file.endswith(".json")
        self.data = json.loads(text) if self.is_json else tomllib.loads(text)
        places = scan_json(text)[1] if self.is_json else scan_toml(text)
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.places = places
        self.scalars = [self._node(path, place, is_key=False) for path, place in places.values.items() if self._is_scalar(path)]
        self.keys = [self._node(path, place, is_key=True) for path, place in places.keys.items() if isinstance(path[-1], str)]

    def _node(self, path, place, *, is_key):
        start = self.starts[place.line - 1] + place.column - 1
        return _Node(path, start, start + place.length, place.line, is_key)

    def value(self, path):
        found = self.data
        for part in path:
            found = found[part]
        return found

    def _is_scalar(self, path):
        return bool(path) and not isinstance(self.value(path), dict | list)

    def line_of(self, path):
        return self.places.find(path, of_key=True).line

    def replace(self, start, end, new):
        return self.text[:start] + new + self.text[end:]

    def parents(self, path):
        """Return the lines of everything that contains ``path``: keys, headers, and the entry's own header."""
        return {self.line_of(path[:size]) for size in range(1, len(path))} or {1}

    def is_prose(self, path):
        return any(part in PROSE for part in path) or (
            self.file == "runtimeclasses.toml" and path[-1:] == ("source",) and path[0] == "sources"
        )


def all_mutants(folder: Path) -> list[Mutant]:
    """Return every mutant of the manifests in ``folder``, in a fixed order."""
    found: list[Mutant] = []
    for file in FILES:
        source = _Source(file, (folder / file).read_text(encoding="utf-8"))
        for mutate in (_drop, _rename, _misspell, _swap, _duplicate, _move, _numbers, _syntax):
            found += mutate(source)
    return found


def sample(mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Return ``size`` of ``mutants``, in order; every operator has as large a part as in the whole."""
    chosen = random.Random(seed).sample(range(len(mutants)), min(size, len(mutants)))
    return [mutants[i] for i in sorted(chosen)]


def _pick(text: str) -> random.Random:
    return random.Random(text)


def _near(lines):
    return frozenset(line + d for line in lines for d in (-1, 0, 1))


def _item_span(source, node):
    """Return the span of a list item with one comma."""
    after = re.compile(r"\s*,[ \t]*").match(source.text, node.end)
    if after:
        return node.start, after.end()
    before = re.search(r",\s*$", source.text[: node.start])
    return (before.start(), node.end) if before else (node.start, node.end)


def _statements(source):
    """Yield (path, start, end) of the ``key = value`` statements of a TOML document that begin a line."""
    lines = source.text.split("\n")
    for node in source.keys:
        begin = source.starts[node.line - 1]
        if (
            source.text[begin : node.start].strip()
            or source.text[begin] == "["
            or not re.match(r'[\w."\'-]+[ \t]*=', source.text[begin:])
        ):
            continue
        if isinstance(node.path[-1], int):
            continue
        for size in range(1, 60):
            piece = "\n".join(lines[node.line - 1 : node.line - 1 + size])
            try:
                tomllib.loads(piece)
            except tomllib.TOMLDecodeError:
                continue
            yield node.path, node.line, begin, min(begin + len(piece) + 1, len(source.text))
            break


def _tables(source):
    """Yield (header line, start, end, name) of the tables of a TOML document, each up to the next header."""
    headers = list(re.finditer(r"^\[+([^\]\n]+)\]+", source.text, re.MULTILINE))
    for i, header in enumerate(headers):
        end = headers[i + 1].start() if i + 1 < len(headers) else len(source.text)
        yield source.text.count("\n", 0, header.start()) + 1, header.start(), end, header


def _drop(source):
    for node in source.scalars:
        if isinstance(node.path[-1], int) and not source.is_prose(node.path):
            start, end = _item_span(source, node)
            lines = _near({node.line}) | source.parents(node.path)
            yield Mutant("drop", source.file, source.replace(start, end, ""), lines, f"item {node.path}")
    if source.is_json:
        yield from _drop_json(source)
        return
    for path, line, start, end in _statements(source):
        if not source.is_prose(path):
            lines = _near({line}) | source.parents(path)
            yield Mutant("drop", source.file, source.replace(start, end, ""), lines, f"statement {path}")
    for line, start, end, header in _tables(source):
        path = tuple(part.strip().strip('"') for part in re.findall(r'"[^"]*"|[^.]+', header.group(1)))
        if source.is_prose(path) or source.file == "ignores.toml":
            continue  # without an acceptance, what it accepted is found again, where it always was
        lines = _near({line}) | source.parents(path)
        yield Mutant("drop", source.file, source.replace(start, end, ""), lines, f"table {path}")
        stop = source.text.find("\n", start) + 1
        yield Mutant("drop", source.file, source.replace(start, stop, ""), _near({line}), f"header {path}")


def _drop_json(source):
    for node in source.keys:
        if len(node.path) not in {2, 3}:
            continue
        value = source.value(node.path)
        pattern = re.compile(r'"[^"]+":\s*(\{[^{}]*\}|\[[^\[\]]*\])')
        match = pattern.match(source.text, node.start)
        if match is None or not isinstance(value, dict | list):
            continue
        start, end = _item_span(source, _Node(node.path, node.start, match.end(), node.line, False))
        lines = _near({node.line}) | source.parents(node.path)
        yield Mutant("drop", source.file, source.replace(start, end, ""), lines, f"entry {node.path}")


def _rename(source):
    for node in source.keys:
        if source.is_prose(node.path[:-1]) or node.path[-1] == "_comment":
            continue
        name = source.text[node.start : node.end]
        new = f'{name[:-1]}-new"' if name.endswith('"') else f"{name}_new"
        yield Mutant("rename", source.file, source.replace(node.start, node.end, new), frozenset({node.line}), f"key {node.path}")
    for node in source.scalars:
        text = source.text[node.start : node.end]
        if text.startswith(('"', "'")) and not source.is_prose(node.path):
            others = sorted(
                {v for p, v in _strings(source.data) if _kind(p) == _kind(node.path) and v != source.value(node.path)}
            )
            if others:
                other = _pick(f"{source.file}{node.path}").choice(others)
                new = f"{text[0]}{other}{text[0]}"
                yield Mutant(
                    "rename",
                    source.file,
                    source.replace(node.start, node.end, new),
                    frozenset({node.line}),
                    f"{node.path} to {other}",
                )


def _strings(data, path=()):
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _strings(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _strings(value, (*path, i))
    elif isinstance(data, str):
        yield path, data


def _kind(path):
    """Return what tells the kind of a value: the last key of its path, and whether it is an item."""
    names = [part for part in path if isinstance(part, str)]
    last = names[-1] if names else ""
    return ("arch row" if last in ARCHES else last), isinstance(path[-1], int)


def _misspelt(word, random_):
    letters = [i for i, c in enumerate(word) if c.isalpha()]
    if not letters:
        return None
    i = random_.choice(letters)
    way = random_.randrange(3)
    if way == 0 and i + 1 < len(word) and word[i] != word[i + 1] and word[i + 1].isalnum():
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if way == 1 and len(word) > 2:
        return word[:i] + word[i + 1 :]
    return word[:i] + word[i] + word[i:]


def _misspell(source):
    for node in (*source.keys, *source.scalars):
        text = source.text[node.start : node.end]
        if source.is_prose(node.path[:-1] if node.is_key else node.path) or (node.path[-1] == "_comment"):
            continue
        quoted = text[:1] in {'"', "'"}
        if not quoted and not node.is_key:
            continue
        word = text[1:-1] if quoted else text
        new = _misspelt(word, _pick(f"{source.file}{node.path}{node.is_key}"))
        if new is None or new == word:
            continue
        shown = f"{text[0]}{new}{text[0]}" if quoted else new
        yield Mutant(
            "misspell",
            source.file,
            source.replace(node.start, node.end, shown),
            frozenset({node.line}),
            f"{node.path}: {word} → {new}",
        )


def _swap(source):
    groups: dict[object, list[_Node]] = {}
    for node in source.scalars:
        if not source.is_prose(node.path):
            groups.setdefault(
                (node.path[:-1] if isinstance(node.path[-1], str) else node.path[:-2], type(source.value(node.path))), []
            ).append(node)
    for nodes in groups.values():
        for one, other in pairwise(nodes):
            same_list = isinstance(one.path[-1], int) and one.path[:-1] == other.path[:-1]
            a, b = source.text[one.start : one.end], source.text[other.start : other.end]
            if same_list or a == b:
                continue
            first, second = sorted((one, other), key=lambda n: n.start)
            x, y = source.text[first.start : first.end], source.text[second.start : second.end]
            text = source.text[: first.start] + y + source.text[first.end : second.start] + x + source.text[second.end :]
            yield Mutant("swap", source.file, text, frozenset({one.line, other.line}), f"{one.path} with {other.path}")


def _duplicate(source):
    for node in source.scalars:
        if isinstance(node.path[-1], int) and not source.is_prose(node.path):
            text = source.text[node.start : node.end]
            yield Mutant(
                "duplicate", source.file, source.replace(node.end, node.end, f", {text}"), frozenset({node.line}), f"{node.path}"
            )
    if source.is_json:
        for node in source.keys:
            match = re.compile(r'"[^"]+":\s*(\{[^{}]*\}|\[[^\[\]]*\])').match(source.text, node.start)
            if match:
                new = f"{match.group()}, {match.group()}"
                lines = frozenset(range(node.line, node.line + new.count("\n") + 1))
                yield Mutant("duplicate", source.file, source.replace(match.start(), match.end(), new), lines, f"{node.path}")
        return
    for path, line, start, end in _statements(source):
        piece = source.text[start:end]
        count = piece.count("\n")
        lines = frozenset(range(line, line + 2 * count + 1))
        yield Mutant("duplicate", source.file, source.replace(end, end, piece), lines, f"{path}")
    for line, start, end, header in _tables(source):
        piece = source.text[start:end].rstrip("\n") + "\n\n"
        lines = frozenset(range(line, line + 2 * piece.count("\n") + 1))
        yield Mutant("duplicate", source.file, source.replace(end, end, "\n" + piece), lines, f"table {header.group(1)}")


def _move(source):
    """Move things between architectures: an item from one row to another, a name of an architecture to another one."""
    for node in source.scalars:
        value = source.value(node.path)
        if value in ARCHES and isinstance(node.path[-1], int) and not source.is_prose(node.path):
            taken = source.value(node.path[:-1])
            for other in [a for a in ARCHES if a not in taken][:1]:
                yield Mutant(
                    "move",
                    source.file,
                    source.replace(node.start, node.end, f'"{other}"'),
                    frozenset({node.line}),
                    f"{node.path} to {other}",
                )
    for node in source.keys:
        if node.path[-1] in ARCHES:
            siblings = source.value(node.path[:-1])
            for other in [a for a in ARCHES if a not in siblings][:1]:
                text = source.text[node.start : node.end].replace(node.path[-1], other)
                yield Mutant(
                    "move",
                    source.file,
                    source.replace(node.start, node.end, text),
                    frozenset({node.line}),
                    f"{node.path} to {other}",
                )
    if source.is_json:
        for node in source.scalars:
            if len(node.path) != 4:
                continue
            rows = source.value(node.path[:2])
            item = source.value(node.path)
            for arch in [a for a in rows if a != node.path[2] and item not in rows[a]][:1]:
                place = next(n for n in source.scalars if n.path == (*node.path[:2], arch, len(rows[arch]) - 1))
                start, end = _item_span(source, node)
                text = source.text
                edits = sorted([(start, end, ""), (place.end, place.end, f', "{item}"')], reverse=True)
                for a, b, new in edits:
                    text = text[:a] + new + text[b:]
                yield Mutant("move", source.file, text, frozenset({node.line, place.line}), f"{node.path} to {arch}")


def _numbers(source):
    for node in source.scalars:
        value, text = source.value(node.path), source.text[node.start : node.end]
        new: list[str] = []
        if isinstance(value, bool):
            new = ["false" if value else "true"]
        elif isinstance(value, int):
            new = [str(value * 10), str(value + 1), str(-value), f'"{value}"', f"{value}.5"]
        elif re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            new = [f"{int(text[:4]) - 1}{text[4:]}", f"{int(text[:4]) + 1}{text[4:]}", f"{text[:5]}13{text[7:]}"]
        elif isinstance(value, str) and re.fullmatch(r"[0-9.]+(Mi|m)?", value):
            number = re.match(r"[0-9.]+", value).group()
            unit = value[len(number) :]
            bigger = f"{number}0" if "." not in number else f"1{number}"
            new = [f'"{bigger}{unit}"']
            new += {"Mi": [f'"{number}Gi"', f'"{number}M"', f'"{number}Ki"'], "m": [f'"{number}"', f'"{number}M"']}.get(
                unit, [f'"{number}m"']
            )
        for each in new:
            yield Mutant(
                "number",
                source.file,
                source.replace(node.start, node.end, each),
                frozenset({node.line}),
                f"{node.path}: {text} → {each}",
            )


def _syntax(source):
    """Take one sign of the syntax out, or put one in, at places spread over the document."""
    random_ = _pick(f"syntax {source.file}")
    signs = [m for m in re.finditer(r'["\[\]{},=:]', source.text) if not _in_comment(source, m.start())]
    for match in random_.sample(signs, min(len(signs), 60)):
        line = source.text.count("\n", 0, match.start()) + 1
        text = source.replace(match.start(), match.end(), "")
        yield Mutant("syntax", source.file, text, _near({line}), f"without {match.group()} on line {line}")
    for match in random_.sample(signs, min(len(signs), 20)):
        line = source.text.count("\n", 0, match.start()) + 1
        sign = random_.choice('"[]{},=:x')
        text = source.replace(match.start(), match.start(), sign)
        yield Mutant("syntax", source.file, text, _near({line}), f"with {sign} on line {line}")


def _in_comment(source, offset):
    if source.is_json:
        return False
    begin = source.text.rfind("\n", 0, offset) + 1
    return "#" in re.sub(r'"[^"\n]*"', lambda m: "x" * len(m.group()), source.text[begin : offset + 1])
