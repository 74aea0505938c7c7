"""Makefiles are read as make reads them, without running anything."""

# ruff: noqa: E501 - tables of texts

from __future__ import annotations

import subprocess

import pytest

from kata_bundle.manifest.upstream.make import Makefile, evaluate, is_known, unknown_reasons
from kata_bundle.manifest.upstream.source import MemoryFiles


def read(text: str, *, files: dict[str, str] | None = None, line: dict[str, str] | None = None, **outputs: str) -> Makefile:
    content = {"src/Makefile": text, **(files or {})}
    makefile = evaluate(
        MemoryFiles({name: body.encode() for name, body in content.items()}),
        "src/Makefile",
        command_line=line or {},
        environment={"FROM_ENV": "env"},
        outputs={"uname -m": "x86_64", **outputs},
    )
    assert makefile is not None
    return makefile


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("A = 1\nB = $(A)\nA = 2\n", "B", "2"),
        ("A = 1\nB := $(A)\nA = 2\n", "B", "1"),
        ("A ?= 1\nA ?= 2\n", "A", "1"),
        ("A = 1\nA += 2\n", "A", "1 2"),
        ("X = 1\nA := $(X)\nX = 2\nA += $(X)\n", "A", "1 2"),
        ("A += 1\n", "A", "1"),
        ("A = x # comment\nB = $(A)y\n", "B", "x y"),
        ("A = a\\#b\n", "A", "a#b"),
        ("A = one \\\n    two \\\n    three\n", "A", "one two three"),
        ("A = $$HOME\n", "A", "$HOME"),
        ("A = ${B}\nB = b\n", "A", "b"),
        ("N = B\nB = b\nA = $($(N))\n", "A", "b"),
        ("export A := 1\n", "A", "1"),
        ("A := 1\r\nB := $(A)2\r\n", "B", "12"),
        ("A = a.c b.c d\nB = $(A:.c=.o)\n", "B", "a.o b.o d"),
        ("A = a.c b.c\nB = $(A:%.c=x/%.o)\n", "B", "x/a.o x/b.o"),
        ("define F\n$(if $(findstring un,$1),long,short) $2\nendef\nA = $(call F,un,z)\n", "A", "long z"),
        ("define F\nfirst\nsecond\nendef\nA = $(F)\n", "A", "first\nsecond"),
        ("A = $(foreach v,a b,-e $v)\n", "A", "-e a -e b"),
        ("A = $(filter %.c x,a.c b.h x)\n", "A", "a.c x"),
        ("A = $(filter-out %.c x,a.c b.h x)\n", "A", "b.h"),
        ("A = $(subst a,b,banana) $(patsubst %.in,%,c.in)\n", "A", "bbnbnb c"),
        ("A = $(dir a/b c)$(notdir a/b)$(basename a.b.c)$(suffix a.b.c)\n", "A", "a/ ./ba.b.c"),
        ("A = $(word 2,a b c) $(words a b) $(wordlist 2,3,a b c d) $(firstword q w)$(lastword q w)\n", "A", "b 2 b c qw"),
        ("A = $(sort b a b) $(strip  x   y ) $(join a b,1 2) $(addprefix p/,x y) $(addsuffix .s,x)\n", "A", "a b x y a1 b2 p/x p/y x.s"),
        ("A = $(or ,$(NO),x)$(and a,b)$(and a,,b)\n", "A", "xb"),
        ("A = $(abspath /a/../b//c)\n", "A", "/b/c"),
        ("A = $(if ,yes,no)$(if x,yes)\n", "A", "noyes"),
        ("A = $(shell uname -m)\n", "A", "x86_64"),
        ("A = $(FROM_ENV)\n", "A", "env"),
        ("comma := ,\nempty :=\nspace := $(empty) $(empty)\nL = a b c\nA := $(subst $(space),$(comma),$(L))\n", "A", "a,b,c"),
        ("ifeq ($(FROM_ENV),env)\nA = 1\nelse\nA = 2\nendif\n", "A", "1"),
        ("ifeq ($(FROM_ENV), other)\nA = 1\nelse ifeq ($(FROM_ENV), env)\nA = 2\nelse\nA = 3\nendif\n", "A", "2"),
        ("ifneq (,$(NOTHING))\nA = 1\nifdef B\nA = 2\nendif\nelse\nA = 3\nendif\n", "A", "3"),
        ('ifeq "$(FROM_ENV)" "env"\nA = 1\nendif\n', "A", "1"),
        ("B = x\nifdef B\nA = 1\nendif\nifndef C\nA += 2\nendif\n", "A", "1 2"),
        ("t:\n\tA = recipe\nA = 1\n", "A", "1"),
        ("ifeq (1,1)\n\tA = tabbed\nendif\n", "A", "tabbed"),
        ("t: A = specific\nA = 1\n", "A", "1"),
        ("ifeq (a,$(call F,(x)))\nendif\nA = 1\n", "A", "1"),
    ],
)  # fmt: skip
def test_values_are_those_of_make(text: str, name: str, value: str) -> None:
    makefile = read(text)
    assert makefile.get(name) == value
    assert makefile.problems == []


def test_the_command_line_wins_but_not_over_an_override() -> None:
    makefile = read("A := file\noverride B := file\nA += more\n", line={"A": "given", "B": "given"})
    assert makefile.get("A") == "given"
    assert makefile.get("B") == "file"


def test_includes_are_read_from_the_tree_and_missing_ones_are_told() -> None:
    makefile = read("include ../utils.mk arch/$(A).mk\n-include gone.mk\ninclude nowhere.mk\n", files={"utils.mk": "A = a\nB = b\n", "src/arch/a.mk": "C = c\n"})  # fmt: skip
    assert makefile.get("B") == "b"
    assert [message for _, message in makefile.problems] == [
        'an include of "arch/.mk", which is not in the tree',
        'an include of "nowhere.mk", which is not in the tree',
    ]


def test_a_file_is_looked_for_in_the_tree_only() -> None:
    makefile = read("A = $(realpath arch/x.mk)\nB = $(realpath /etc/passwd)\nC = $(wildcard arch/*.mk)\nD = $(wildcard /etc/*)\n", files={"src/arch/x.mk": ""})  # fmt: skip
    assert makefile.get("A") == "/src/arch/x.mk"
    assert makefile.get("B") == ""
    assert makefile.get("C") == "arch/x.mk"
    assert not is_known(makefile.get("D"))


def test_what_a_program_says_is_unknown_and_says_why() -> None:
    makefile = read("A = $(shell git rev-parse HEAD)\nB = v-$(A)\nC = $(if $(A),x)\nD != date\nE = $(sort $(A))\n")
    for name in "ABCDE":
        assert not is_known(makefile.get(name)), name
    assert unknown_reasons(makefile.get("B")) == ("the output of a program: git rev-parse HEAD",)


def test_a_condition_on_something_unknown_makes_what_it_sets_unknown() -> None:
    makefile = read("A = before\nifeq ($(shell date),x)\nA = 1\nelse\nB = 2\nendif\nC = 3\n")
    assert not is_known(makefile.get("A"))
    assert not is_known(makefile.get("B"))
    assert makefile.get("C") == "3"
    assert len(makefile.problems) == 1


def test_an_error_call_is_where_make_would_stop() -> None:
    makefile = read("ifeq (,$(realpath nothing))\n    $(error \"ERROR: invalid architecture: '$(FROM_ENV)'\")\nendif\n")
    assert [message for _, message in makefile.stops] == ["ERROR: invalid architecture: 'env"]


@pytest.mark.parametrize("text", ["A = $(A)\n", "A = $(B)\nB = $(A)x\n", "define F\n$(call F,$1)\nendef\nA = $(call F,x)\n", "A = x\n" + "A := $(A)$(A)\n" * 40])  # fmt: skip
def test_what_never_ends_becomes_unknown(text: str) -> None:
    assert not is_known(read(text).get("A"))


def test_targets_keep_what_they_need_and_their_recipe() -> None:
    makefile = read("D := b-x\na-x: $(D) | c-x\n\tmake $@\n\nifeq (1,2)\na-x: no\n\tno\nendif\nall: a-x\n")
    target = next(t for t in makefile.targets if t.name == "a-x")
    assert target.prerequisites == ("b-x", "c-x")
    assert target.recipe == ["make $@"]
    assert target.place == ("src/Makefile", 2)


def test_the_lines_that_made_a_value_are_known() -> None:
    makefile = read("A = 1\n\nA += 2\n")
    assert [place.line for place in makefile.places("A")] == [1, 3]


@pytest.mark.interop
@pytest.mark.parametrize("value", ["abc", "", "a b", "un x"])
def test_make_itself_agrees(value: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = """A = $(if $(findstring un,$(V)),long,short)-$(words $(V))-$(patsubst %b,x%,$(V))
B := [\\"$(V)\\"]
ifneq (,$(V))
A += set
endif
C = $(foreach v,$(sort $(V)),<$v>)
define F
$(subst a,$2,$1)
endef
D = $(call F,$(V),z)
"""
    text = f"V := {value}\n{text}"
    (tmp_path / "Makefile").write_text(text + "print:\n\t@:\n$(foreach n,A B C D,$(info $n=$($n)))\n")
    try:
        done = subprocess.run(["make", "-s", "-C", str(tmp_path), "print"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("make is not installed")
    real = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    makefile = read(text)
    assert {name: makefile.get(name) for name in real} == real
