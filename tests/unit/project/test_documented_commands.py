"""Every command line that a page, a help text or a message of ours shows exists: the command, each option, each choice."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from kata_bundle.cli.root import command as root

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_SPAN = re.compile(r"`(kata-bundle [^`]+)`")
_LINE = re.compile(r"^(?:\$ )?(kata-bundle .+)$")


def command_lines(text: str) -> list[str]:
    """Return what stands in code spans and on the lines of code blocks, comments cut off."""
    found = [re.sub(r"\s+", " ", span) for span in _SPAN.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
    for block in re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL):
        joined = block.replace("\\\n", " ")
        found += [match[1] for line in joined.splitlines() if (match := _LINE.match(line.split("  #")[0].strip()))]
    return found


SHOWN = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in command_lines(page.read_text())})


def problems(line: str) -> list[str]:
    """Return what is wrong with a command line; what stands for a user's own words is not looked at."""
    words = shlex.split(re.split(r" (?:[|>]|&&|\|\|) |; ", line)[0], comments=True)[1:]
    command: click.Command = root
    while words and isinstance(command, click.Group):
        if words[0].startswith("-") or not re.fullmatch(r"[a-z-]+", words[0]):
            break
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return [f"there is no command {words[0]}"]
        command, words = found, words[1:]
    options = {
        name: param
        for param in command.params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    wrong = []
    for i, word in enumerate(words):
        name, _, value = word.partition("=")
        if not re.fullmatch(r"--?[a-z][a-z-]*", name) or name in {"--help", "-h", "--version", "-V"}:
            continue
        option = options.get(name)
        if option is None:
            wrong.append(f"{command.name} has no option {name}")
        elif not option.is_flag and isinstance(option.type, click.Choice):
            given = value or next(iter(words[i + 1 :]), "")
            if given not in option.type.choices and not given.isupper():
                wrong.append(f"{name} does not take {given!r}")
    return wrong


def test_pages_show_commands():
    assert len(SHOWN) > 30


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_shown_command_exists(page, line):
    assert problems(line) == []


def test_what_does_not_exist_is_found():
    assert problems("kata-bundle frobnicate x") == ["there is no command frobnicate"]
    assert problems("kata-bundle bundle --shim qemu --nope") == ["bundle has no option --nope"]
    assert problems("kata-bundle check --format yaml") == ["--format does not take 'yaml'"]
    assert problems("kata-bundle lock debian --check # comment --nope") == []


def test_links_between_pages_lead_somewhere():
    links = [(page, target) for page in PAGES for target in links_of(page) if not re.match(r"[a-z]+:", target)]
    assert len(links) > 30
    assert [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def links_of(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
