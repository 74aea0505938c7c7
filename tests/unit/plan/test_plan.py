from __future__ import annotations

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import UsageError
from kata_bundle.manifest import load_catalog
from kata_bundle.plan.closure import plan_closure
from kata_bundle.plan.selection import Cell, Selection, resolve_cells

X, A, S, P = Arch.X86_64, Arch.AARCH64, Arch.S390X, Arch.PPC64LE


@pytest.fixture(scope="module")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found


def cells(catalog, shims, arches):
    return resolve_cells(catalog, Selection(shims=tuple(shims), arches=tuple(arches)))


def test_cells_keep_the_order_of_architectures_and_sort_shims(catalog):
    assert cells(catalog, ["qemu", "clh"], [A, X]) == (
        Cell(arch=A, shim="clh"),
        Cell(arch=A, shim="qemu"),
        Cell(arch=X, shim="clh"),
        Cell(arch=X, shim="qemu"),
    )


def test_a_shim_may_lack_a_cell_on_some_architectures_but_not_on_all(catalog):
    assert cells(catalog, ["clh"], [X, S]) == (Cell(arch=X, shim="clh"),)
    with pytest.raises(UsageError, match='shim "clh" has no components on s390x'):
        cells(catalog, ["qemu", "clh"], [S])


def test_all_and_default_are_words_for_sets(catalog):
    assert len(cells(catalog, ["all"], list(Arch))) == 43
    assert {c.shim for c in cells(catalog, ["default"], [P])} == set(catalog.arches[P].default_shims)


@pytest.mark.parametrize(
    ("shims", "words"),
    [
        ([], "no shim selected"),
        (["quemu"], 'unknown shim "quemu"'),
        (["quemu", "nope", "qemu-se"], 'unknown shim "quemu"; unknown shim "nope"; shim "qemu-se" has no components on x86_64'),
    ],
)
def test_every_wrong_word_is_named_at_once_and_nothing_never_means_everything(catalog, shims, words):
    with pytest.raises(UsageError) as caught:
        cells(catalog, shims, [X])
    assert words in str(caught.value)


def test_each_component_stands_once_with_all_who_need_it(catalog):
    plan = plan_closure(catalog, Selection(shims=("qemu", "clh"), arches=(X,)))
    assert [c.component for c in plan.components] == sorted({c.component for c in plan.components})
    by_name = {c.component: c.needed_by for c in plan.components_on(X)}
    assert by_name["kernel"] == ("clh", "qemu")
    assert by_name["cloud-hypervisor"] == ("clh",)
    assert plan.to_dict()["arches"]["x86_64"]["components"]["qemu"] == {"needed_by": ["qemu"]}


def test_the_closure_of_every_cell_is_exactly_its_list(catalog):
    for shim, arch in catalog.component_map.cells():
        plan = plan_closure(catalog, Selection(shims=(shim,), arches=(Arch(arch),)))
        assert {c.component for c in plan.components} == set(catalog.component_map.components(shim, arch))
        assert plan.arches == (Arch(arch),)
