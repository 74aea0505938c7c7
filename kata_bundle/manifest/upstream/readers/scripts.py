"""What packaging scripts say with names: variables they set and read, paths of the tree, images that build a component.

Format: shell scripts below tools/packaging, searched for single forms and not followed. Words in comments are left out; texts in
quotes are looked at like the rest, since the shell replaces variables in most of them.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect
from itertools import islice
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream.facts import Item, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["is_wanted", "read_functions", "read_given_names", "read_scripts"]

_WANTED: Final = re.compile(r"tools/packaging/(?!.*/(?:tests?|vendor)/).*\.sh")
_GIVEN: Final = re.compile(r"(?:\.github/workflows/.*\.ya?ml|tools/packaging/.*(?:Makefile|Dockerfile|\.mk))")
_COMMENT: Final = re.compile(r"(?m)^[ \t]*#[^\n]*|(?<=[ \t])#[ \t][^\n'\"#]*$")
_READ: Final = re.compile(r"(?<!\\)\$(?:([A-Za-z_]\w*)|\{[#!]?([A-Za-z_]\w*))")
_ARITHMETIC: Final = re.compile(r"\(\(([^\n(]{1,200}?)\)\)|\[\[?[^\]\[\n]{0,200}-v[ \t]+([A-Za-z_]\w*)")
_SET: Final = re.compile(
    r"(?:^|[\s;&|({`])(?P<how>(?:local|export|readonly|declare|typeset)(?:[ \t]+-\w+)*[ \t]+)?"
    r"(?P<name>[A-Za-z_]\w*)(?:\[[^\]\[\n]*\])?\+?=(?!=)",
    re.MULTILINE,
)
_DECLARED: Final = re.compile(r"(?:^|[\s;&|({])(?:local|export|readonly|declare|typeset)([ \t][^;&|\n]*)", re.MULTILINE)
_TAKEN: Final = re.compile(
    r"\bfor[ \t]+([A-Za-z_]\w*)[ \t]+in\b|\bgetopts[ \t]+\S+[ \t]+([A-Za-z_]\w*)|\bprintf[ \t]+-v[ \t]+([A-Za-z_]\w*)"
    r"|\$\{([A-Za-z_]\w*):?=|\b(?:mapfile|readarray)\b[^\n|;]{0,80}?[ \t]([A-Za-z_]\w*)[ \t]*(?:<|$)",
    re.MULTILINE,
)
_READ_INTO: Final = re.compile(r"\bread((?:[ \t]+-\w+)*(?:[ \t]+[A-Za-z_]\w*)+)")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_MAX_VALUE: Final = 400
_MOST_REFUSED: Final = 20
_BARE: Final = re.compile(r"(?<![\w$%{}\\'\"(/@!,.-])\{([a-z_][a-z0-9_]{3,})\}(?![}\w<>])")
_IMAGE: Final = re.compile(r"\$\{([A-Z0-9_]+)_CONTAINER_BUILDER:-\"?\$\(get_([a-z0-9_]+)_image_name\)")
_DEFINES: Final = re.compile(r"^[ \t]*(?:function[ \t]+([A-Za-z_]\w*)|([A-Za-z_]\w*)[ \t]*\(\))", re.MULTILINE)
_CALLS: Final = re.compile(
    r"(?:^[ \t]*|[;&|][ \t]+|\b(?:then|do|else|if|!)[ \t]+|\$\()([a-z]\w*_\w+)(?=[ \t;)\n]|$)(?![ \t]*\(\))", re.MULTILINE
)
_SCRIPTS: Final = re.compile(r"(?:tools|ci|tests)/(?!.*/vendor/).*\.(?:sh|bash)")
_OPENS: Final = re.compile(
    r"^(?:function[ \t]+)?[\w:.-]+[ \t]*\(\)[ \t]*(?:\n[ \t]*)?[{(]|^function[ \t]+[\w:.-]+[ \t]*\{", re.MULTILINE
)
_CLOSES: Final = re.compile(r"^[})]", re.MULTILINE)
_LOCAL: Final = re.compile(r"^local[ \t]+[A-Za-z_]\w*", re.MULTILINE)
_UNCLOSED: Final = re.compile(r"(?<!\[)\[[ \t]+-[a-z][ \t]+\"\$\{?\w+\}?\"\](?!\])")
_LAST_COMMIT: Final = re.compile(r"\bget_last_modification[ \t]+\"?\$\{?repo_root_dir\}?/([A-Za-z0-9_./-]+)(?![\w$/{*])")
_TAKES_IN: Final = re.compile(
    r"(?:^|[;&|]|\bthen\b)[ \t]*(?:source|\.|bash)[ \t]+\"?\$\{?repo_root_dir\}?/([A-Za-z0-9_./-]+\.(?:sh|bash))\b", re.MULTILINE
)
_BESIDE: Final = re.compile(
    r"[\"'=](?:`dirname[ \t]+\"?\$\{?0\}?\"?`|\$\(dirname[ \t]+\"?\$\{?0\}?\"?\))/((?:\.\./)*[A-Za-z0-9_./-]+)[\"']"
)


def is_wanted(name: str) -> bool:
    """Return whether ``name`` is a packaging script, or a file that gives scripts their environment."""
    return _WANTED.fullmatch(name) is not None or _GIVEN.fullmatch(name) is not None


def read_scripts(reading: Reading) -> list[Script]:
    """Return every packaging script of the tree, by name."""
    texts = (reading.text(name) for name in sorted(reading.files.names) if _WANTED.fullmatch(name))
    return [_script(text) for text in texts if text is not None]


def read_given_names(reading: Reading) -> frozenset[str]:
    """Return every word in capitals of files that start scripts: makefiles, images and workflows give variables to them."""
    found: set[str] = set()
    for name in reading.files.names:
        data = reading.files.read(name) if _GIVEN.fullmatch(name) else None
        if data is not None:
            found.update(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", data.decode("utf-8", "replace")))
    return frozenset(found)


def read_functions(reading: Reading) -> frozenset[str]:
    """Return every function that a script of the tree defines."""
    found: set[str] = set()
    for name in reading.files.names:
        data = reading.files.read(name) if _SCRIPTS.fullmatch(name) else None
        if data is not None:
            text = data.decode("utf-8", "replace")
            found.update(match.group(1) or match.group(2) for match in _DEFINES.finditer(text))
    return frozenset(found)


def _script(text: Text) -> Script:
    code = Uncommented(text)
    reads: dict[str, Item] = {}
    for match in _READ.finditer(code.text):
        group = 1 if match.group(1) else 2
        if match.group(group) not in reads:
            reads[match.group(group)] = text.item(match, group)
    used = set(reads)
    for match in _ARITHMETIC.finditer(code.text):
        used.update(_NAME.findall(match.group()))
    sets: dict[str, Item] = {}
    shared: set[str] = set()
    for match in _SET.finditer(code.text):
        if match.group("name") not in sets:
            sets[match.group("name")] = text.item(match, "name")
        if (match.group("how") or "").startswith(("export", "declare")) or not _ends_statement(code.text, match):
            shared.add(match.group("name"))
    names = {name for match in _TAKEN.finditer(code.text) for name in match.groups() if name}
    for match in (*_DECLARED.finditer(code.text), *_READ_INTO.finditer(code.text)):
        names.update(_NAME.findall(match.group(1)))
    return Script(
        path=text.path,
        reads=reads,
        used=frozenset(used),
        sets=sets,
        shared=frozenset(shared),
        taken=frozenset(names),
        bare=tuple(text.item(match) for match in _BARE.finditer(code.text)),
        images=tuple((text.item(match), match.group(2)) for match in _IMAGE.finditer(code.text)),
        paths=tuple(_paths(text, code.text)),
        calls=tuple(_calls(text, code.text)),
        refused=tuple(islice(_refused(text, code.text), _MOST_REFUSED)),
    )


def _refused(text: Text, code: str) -> Iterator[Item]:
    """Yield declarations of local variables at the left margin outside of functions, and tests whose bracket is not closed."""
    opens = [match.start() for match in _OPENS.finditer(code)]
    closes = [match.start() for match in _CLOSES.finditer(code)]
    for match in _LOCAL.finditer(code):
        opened, closed = (places[bisect(places, match.start()) - 1] if places else -1 for places in (opens, closes))
        inside = -1 < opened < match.start() and not opened < closed < match.start()
        if not inside:
            yield text.item(match, 0)
    for match in _UNCLOSED.finditer(code):
        yield text.item(match, 0)


def _calls(text: Text, code: str) -> Iterator[Item]:
    seen: set[str] = set()
    for match in _CALLS.finditer(code):
        if match.group(1) not in seen:
            seen.add(match.group(1))
            yield text.item(match)


class Uncommented:
    """A text whose comments are blanks, so that offsets stay."""

    def __init__(self, text: Text) -> None:
        self.text = _COMMENT.sub(lambda match: " " * len(match.group()), text.text)


def _ends_statement(text: str, match: re.Match[str]) -> bool:
    """Return whether an assignment is a statement of one value, and does not stand before a command for its environment."""
    line = text[match.end() : match.end() + _MAX_VALUE].partition("\n")[0]
    if line.startswith("("):
        return False  # a list: what goes through it has its name in the singular
    value = re.match(r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|\$\([^\n]*\)|\([^\n]*|[^\s;&|\"'()])*[ \t]*", line)
    rest = line[value.end() if value else 0 :].strip()
    return not rest or rest[0] in ";&|)}#\"'\\"


def _paths(text: Text, code: str) -> Iterator[Item]:
    """Yield paths of the tree that the script needs, from the tree's top."""
    for pattern in (_LAST_COMMIT, _TAKES_IN):
        for match in pattern.finditer(code):
            yield Item(posixpath.normpath(match.group(1)), text.span(match.start(1), match.end(1)))
    for match in _BESIDE.finditer(code):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(text.path), match.group(1)))
        if match.group(1).startswith("../") and not path.startswith(".."):
            yield Item(path, text.span(match.start(1), match.end(1)))
