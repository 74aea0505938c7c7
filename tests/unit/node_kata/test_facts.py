"""What follows from a shim's name."""

from __future__ import annotations

import pytest

from kata_bundle.generate.nodefacts import is_current
from kata_bundle.node.config.custom import reserved_handlers
from kata_bundle.node.handlers import Variant, handler, instance_label, variant_handler
from kata_bundle.node.shimfacts import UnknownShimError, emulator, load_facts
from tests.fixtures.components import catalog

FACTS = load_facts()


def test_the_facts_on_the_node_are_those_of_the_catalog():
    assert is_current(catalog())


def test_every_qemu_name_is_a_qemu_shim_and_others_are_not():
    found = FACTS.shim("qemu-from-tomorrow")
    assert (found.section, found.qemu_artifact, found.is_rust, found.arches) == ("qemu", "qemu", False, ())
    assert not FACTS.is_rust("qemu-from-tomorrow-runtime-rs")


@pytest.mark.parametrize("name", ["", "nothing", "clhx", "Qemu"])
def test_an_unknown_name_is_refused_with_the_list(name):
    with pytest.raises(UnknownShimError, match="dragonball") as refused:
        FACTS.shim(name)
    assert f'"{name}"' in str(refused.value)


def test_a_near_miss_gets_a_suggestion():
    with pytest.raises(UnknownShimError) as refused:
        FACTS.shim("dragonbal")
    assert refused.value.hint == 'did you mean "dragonball"?'


def test_rust_shims_are_listed_not_guessed_from_their_names():
    rust = {name for name, shim in FACTS.shims.items() if shim.is_rust}
    assert "dragonball" in rust
    assert {name for name in FACTS.shims if name.endswith("-runtime-rs")} == rust - {"dragonball"}


def test_emulators_are_named_by_machine_and_artifact():
    assert emulator("ppc64le", "qemu-snp-experimental") == "qemu-system-ppc64-snp-experimental"
    assert emulator("riscv64") == "qemu-system-riscv64"


def test_an_empty_suffix_is_none():
    assert handler("qemu", "") == handler("qemu", None) == "kata-qemu"
    assert instance_label("") == "kata-deploy.katacontainers.io/default"


def test_no_two_shims_share_a_handler():
    assert len(reserved_handlers(FACTS, (), None)) == 3 * len(FACTS.shims)
    assert variant_handler("qemu", "a", Variant.DEBUG) == "kata-qemu-a-debug"
