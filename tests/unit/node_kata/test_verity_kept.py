"""Whatever an install changes of a configuration, a handler's guest is checked against the hash that the bundle states."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.build.facts import facts_of
from kata_bundle.build.fixture import render_fixture
from kata_bundle.build.rules import FixtureRecipe
from kata_bundle.build.verity import measured_images
from kata_bundle.core.arch import Arch
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.config.model import CustomRuntime, NodeConfig, ProxySetting
from kata_bundle.node.kata import kata_configuration
from kata_bundle.node.shimfacts import load_facts
from tests.fixtures.components import catalog, component_files, row
from tests.fixtures.payload import MemoryPayload

SETTINGS = {
    "plain": {},
    "much": {
        "debug": True,
        "suffix": "dev",
        "https_proxy": ProxySetting(everywhere="http://proxy"),
        "shim_drop_ins": {"qemu": b"[hypervisor.qemu]\ndefault_memory = 4096\n"},
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("shim", ["qemu", "qemu-snp-runtime-rs", "clh"])
def test_the_hashes_are_in_every_configuration_that_is_read(shim, settings):
    x86, facts = Arch.X86_64, load_facts()
    component = catalog().shims[shim].shim_component
    about = facts_of(catalog(), component, x86)
    verity = {path: f"root_hash={number:064x}" for number, path in enumerate(measured_images(catalog(), about), 1)}
    files = {path: data for name in row(shim, x86) for path, data in component_files(name, x86).items()}
    whole = render_fixture(about, FixtureRecipe(links=(), notes=""), verity)
    files |= {path: entry.data for path, entry in whole.items() if path.endswith(".toml")}
    dest = f"/opt/kata-{settings['suffix']}" if "suffix" in settings else "/opt/kata"
    config = NodeConfig(
        machine="x86_64",
        shims=(shim,),
        custom_runtimes=(CustomRuntime(handler="kata-mine", base=shim),),
        **{name: value for name, value in settings.items() if name != "shim_drop_ins" or shim == "qemu"},
    )
    made = kata_configuration(MemoryPayload(files, dest), config, facts, runtime="containerd")
    table = catalog().shims[shim].configs[x86].hypervisor_table
    original = RelPath(facts.shim(shim).original_config)
    stated = tomllib.loads(files[original].decode())["hypervisor"][table]
    kept = ("kernel_verity_params", "guest_extension_images")
    copies = [path for path in made.overlay.files if path.endswith(f"/{original.rpartition('/')[2]}") and path != original]
    assert len(copies) == 2  # the handler's, and that of the runtime based on it
    assert stated["kernel_verity_params"] == verity[stated["image"]]
    for copy in copies:
        values = tomllib.loads(made.overlay.files[copy].data.decode())["hypervisor"][table]
        assert values["kernel_verity_params"] == stated["kernel_verity_params"]
        folder = copy.rpartition("/")[0]
        for path, item in made.overlay.files.items():
            if path.startswith(f"{folder}/config.d/"):
                dropped = tomllib.loads(item.data.decode()).get("hypervisor", {}).get(table, {})
                assert "kernel_verity_params" not in dropped
                for extension in dropped.get(kept[1], []):
                    before = {one["name"]: one["verity_params"] for one in stated[kept[1]]}
                    assert extension["verity_params"] == before[extension["name"]]
