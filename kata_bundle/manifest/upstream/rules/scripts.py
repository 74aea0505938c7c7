"""Rules about packaging scripts: names of variables, of paths of the tree, and of images that build components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kata_bundle.manifest.upstream.facts import Item, UpstreamTree

__all__ = ["bare_names", "builder_images", "lost_functions", "missing_paths", "misspelt_variables", "refused_lines"]

_LENGTHS = range(6, 61)


def _shortened(name: str) -> set[str]:
    """Return ``name``, and it without each of its letters."""
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


class _Slips:
    """Finds, among many names, the one that another is a slip of."""

    def __init__(self, known: Iterable[str]) -> None:
        self._by_short: dict[str, list[str]] = {}
        for name in sorted(known):
            if len(name) in _LENGTHS:
                for short in _shortened(name):
                    self._by_short.setdefault(short, []).append(name)

    def like(self, name: str) -> str | None:
        """Return the name that ``name`` differs from by a letter more, less or other; not by its number or its letters' case."""
        if len(name) not in _LENGTHS:
            return None
        near = {other for short in _shortened(name) for other in self._by_short.get(short, ())}
        return next((other for other in sorted(near) if _is_slip(name, other)), None)


def _is_slip(one: str, other: str) -> bool:
    """Return whether two names differ by a letter, or by two neighbours that changed places, within a word."""
    if one.lower() == other.lower() or one.isupper() != other.isupper() or one.count("_") != other.count("_"):
        return False
    if one.rstrip("0123456789") == other.rstrip("0123456789"):
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    mine, theirs = one[start:], other[start:]
    swapped = mine[:2] == theirs[:2][::-1] and mine[2:] == theirs[2:]
    return swapped or mine[1:] == theirs or mine == theirs[1:] or mine[1:] == theirs[1:]


@tree_rule("KB674", "a variable of a script under another name", severity=Severity.WARNING)
def misspelt_variables(tree: UpstreamTree) -> Iterator[Problem]:
    """A packaging script reads a variable that nothing sets, or sets one that nothing reads, and has another one of nearly that
    name which is read, or set.

    The shell takes a variable that is not set for an empty text, or stops. Looked for is whatever any script, makefile, image or
    workflow may set; what is exported or given to a single command counts as read.

    Repair: spell the variable as it is spelt elsewhere.

    False alarm: a variable of the environment whose name is much like one of the script's.
    """
    scripts = tree.scripts
    everywhere = {name for script in scripts for name in (*script.sets, *script.taken)} | tree.given_names
    read_somewhere = {name for script in scripts for name in script.used} | tree.given_names
    for script in scripts:
        mine = {*script.sets, *script.taken}
        unset = [item for name, item in script.reads.items() if name not in everywhere]
        unread = [item for name, item in script.sets.items() if name not in read_somewhere and name not in script.shared]
        for items, known, what, other_what in (
            (unset, mine | (set(script.reads) & everywhere), "sets", "read"),
            (unread, script.used & (mine | set(script.reads)), "reads", "set"),
        ):
            slips = _Slips(known if items else ())
            capitals = {name.lower(): name for name in known if name.isupper() and len(name) > 1}
            for item in items:
                # A variable of the environment is in capitals; the same name without them is another one.
                other = capitals.get(item.name) if what == "sets" else None
                other = slips.like(item.name) if other is None else other
                if other is not None:
                    message = f'nothing {what} "{item.name}", which is {other_what} here'
                    yield Problem(span=item.span, message=message, hint=f'did you mean "{other}"?')


@tree_rule("KB675", "a variable without its dollar sign")
def bare_names(tree: UpstreamTree) -> Iterator[Problem]:
    """A packaging script has {name} where name is a variable that it reads elsewhere, so the text is taken as it stands.

    Repair: write ${name}.

    False alarm: a placeholder of another program that has the name of a variable.
    """
    for script in tree.scripts:
        for item in script.bare:
            if item.name in script.reads:
                yield Problem(span=item.span, message=f'"{{{item.name}}}" is a text here, not the variable "{item.name}"')


@tree_rule("KB676", "a component built in the image of another")
def builder_images(tree: UpstreamTree) -> Iterator[Problem]:
    """A build script takes its image from a variable of one component, and when that is not set, the image of another one.

    With the variable set, the component is built in the wrong image.

    Repair: use the variable that is named after the component.

    False alarm: a variable that has another name on purpose.
    """
    for script in tree.scripts:
        for variable, function in script.images:
            mine, theirs = (name.lower().replace("_", "") for name in (variable.name, function))
            if mine not in theirs and theirs not in mine:
                message = f'"{variable.name}_CONTAINER_BUILDER" stands for the image of "{function}"'
                yield Problem(span=variable.span, message=message)


@tree_rule("KB677", "a path of the tree that is not there")
def missing_paths(tree: UpstreamTree) -> Iterator[Problem]:
    """A packaging script asks for the last change of a path, takes in a script, or goes to a folder that the tree does not have.

    The last change of a path is part of the name under which a result is cached: of a path that is not there it is always empty,
    so that results are never made anew.

    Repair: correct the path.

    False alarm: a folder that something else makes first.
    """
    folders: set[str] = set()
    for name in tree.names:
        parts = name.split("/")
        folders.update("/".join(parts[:i]) for i in range(1, len(parts)))
    for script in tree.scripts:
        for item in script.paths:
            if item.name not in tree.names and item.name not in folders:
                hint = did_you_mean(item.name, _beside(item, tree.names, folders))
                yield Problem(span=item.span, message=f'the tree has no "{item.name}"', hint=hint)


def _beside(item: Item, names: frozenset[str], folders: set[str]) -> list[str]:
    above = item.name.rpartition("/")[0]
    return [name for name in (*names, *folders) if name.rpartition("/")[0] == above]


@tree_rule("KB682", "a function of a script that is not there")
def lost_functions(tree: UpstreamTree) -> Iterator[Problem]:
    """A packaging script calls a function that no script defines, but one of nearly that name is. The script stops there.

    Functions that install something in the build script are another finding.

    Repair: call the function by its name.

    False alarm: a program whose name is much like a function's.
    """
    lost = [
        item
        for script in tree.scripts
        for item in script.calls
        if item.name not in tree.functions and not item.name.startswith("install_")
    ]
    slips = _Slips(tree.functions if lost else ())
    for item in lost:
        head = item.name.rpartition("_")[0]
        other = head if head in tree.functions and head.count("_") > 1 else slips.like(item.name)
        if other is not None:
            message = f'"{item.name}" is called, but no script defines it'
            yield Problem(span=item.span, message=message, hint=f'did you mean "{other}"?')


@tree_rule("KB684", "a line of a script that the shell refuses")
def refused_lines(tree: UpstreamTree) -> Iterator[Problem]:
    """A packaging script declares a local variable outside of every function, or has no blank before a test's last bracket.

    The shell says so when it comes to the line, and goes on or stops with an error.

    Repair: take "local" away, or add the blank.

    False alarm: a line of a text that is no part of the script.
    """
    for script in tree.scripts:
        for item in script.refused:
            yield Problem(span=item.span, message=f'the shell refuses "{item.name}"')
