"""Stand-ins: of the right shape, deterministic, and loud about being none."""

from __future__ import annotations

import os
import subprocess
import tomllib

import pytest

from kata_bundle.build import load_rules
from kata_bundle.build.facts import ComponentFacts, ConfigFacts, facts_of
from kata_bundle.build.fixture import Content, render_fixture
from kata_bundle.build.rules import FixtureRecipe, Kind, Link
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError
from kata_bundle.core.profile import Profile
from kata_bundle.core.relpath import RelPath, parse_relpath, resolve_link
from kata_bundle.core.tree import Directory, File, Symlink, Tree, merge
from kata_bundle.manifest import load_catalog
from kata_bundle.manifest.catalog import RuntimeFamily, ShimConfig

RULES = load_rules()
CATALOG = load_catalog()[0]
assert CATALOG is not None
FIXTURES = [(name, arch) for name, rule in RULES.items() for arch, recipe in rule.recipes.items() if recipe.kind is Kind.FIXTURE]
LINE = b"kata_bundle fixture: not a real "


def rendered(component, arch):
    recipe = RULES[component].recipe(arch, Profile.PACKAGES)
    assert isinstance(recipe, FixtureRecipe)
    return render_fixture(facts_of(CATALOG, component, arch), recipe)


def tree_of(component, arch) -> Tree:
    """The stand-in's tree; of a packaged component, its declared outputs with no content."""
    nothing = File(mode=0o644, size_bytes=0, digest=digest_bytes(b""))
    if RULES[component].recipe(arch, Profile.PACKAGES).kind is not Kind.FIXTURE:
        outputs = facts_of(CATALOG, component, arch).outputs
        return Tree.of({parse_relpath(o): Directory() if o.endswith("/") else nothing for o in outputs})
    return Tree.of(
        {
            path: File(mode=e.mode, size_bytes=len(e.data), digest=digest_bytes(e.data)) if isinstance(e, Content) else e
            for path, e in rendered(component, arch).items()
        }
    )


@pytest.mark.parametrize(("component", "arch"), FIXTURES)
def test_a_stand_in_has_every_output_and_says_what_it_is(component, arch):
    facts = facts_of(CATALOG, component, arch)
    entries = rendered(component, arch)
    tree = tree_of(component, arch)
    for output in facts.outputs:
        assert isinstance(tree.entries[parse_relpath(output)], Directory) == output.endswith("/")
    for path, entry in entries.items():
        if isinstance(entry, Content):
            head = entry.data.splitlines()[1 if entry.data.startswith(b"#!") else 0]
            assert head.removeprefix(b"# ").startswith(LINE), path
            assert entry.mode in {0o644, 0o755}
    marker = entries[RelPath(f"share/kata-bundle/fixtures/{component}/VERSION")]
    assert isinstance(marker, Content)
    assert marker.data.startswith(LINE + f"component {component}\n".encode())


@pytest.mark.parametrize(("component", "arch"), FIXTURES)
def test_links_of_a_stand_in_lead_to_something(component, arch):
    tree = tree_of(component, arch)
    for path, entry in tree.entries.items():
        if isinstance(entry, Symlink):
            target = resolve_link(path, entry.target)
            # The one link that two components share points into the Go runtime's.
            assert target in tree.entries or (component, target) == (
                "shim-v2-rust",
                "share/defaults/kata-containers/configuration-qemu.toml",
            )


def test_programs_say_what_they_are_and_fail(tmp_path):
    entry = rendered("nydus", Arch.X86_64)[RelPath("libexec/nydusd")]
    assert isinstance(entry, Content)
    assert entry.mode == 0o755
    (tmp_path / "nydusd").write_bytes(entry.data)
    os.chmod(tmp_path / "nydusd", entry.mode)
    done = subprocess.run([tmp_path / "nydusd", "--version"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", LINE + b"nydusd\n")


def test_images_are_a_few_hundred_kib_with_zeros():
    entry = rendered("rootfs-image-confidential", Arch.X86_64)[RelPath("share/kata-containers/kata-fixture-confidential.image")]
    assert isinstance(entry, Content)
    assert len(entry.data) == 384 << 10
    assert entry.data.endswith(bytes(200 << 10))
    assert (
        entry.data
        != rendered("rootfs-image-confidential", Arch.AARCH64)[
            RelPath("share/kata-containers/kata-fixture-confidential.image")
        ].data
    )


# A change here changes what every store and bundle holds: raise FIXTURE_VERSION with it.
def test_the_bytes_of_stand_ins_are_fixed():
    config = ShimConfig(
        hypervisor_table="qemu",
        hypervisor_path="/opt/kata/bin/qemu-system-x86_64",
        kernel="/opt/kata/k",
        image="/opt/kata/i",
        initrd=None,
        installed_initrd=None,
        firmware="/opt/kata/f",
        firmware_volume=None,
        shared_fs="virtio-fs",
        virtio_fs_daemon="/opt/kata/libexec/virtiofsd",
        default_memory_mib=2048,
        overhead_memory_mib=32,
        confidential_guest=True,
        guest_extension_images=("/opt/kata/share/kata-containers-coco-extension.img",),
        sandbox_cgroup_only=True,
        static_sandbox_resource_mgmt=False,
        emptydir_mode="shared-fs",
        enable_annotations=("enable_iommu",),
    )
    facts = ComponentFacts(
        component="demo",
        arch=Arch.X86_64,
        outputs=("bin/demo", "share/demo/", "share/demo.img", "share/notes.txt", "share/x.toml"),
        configs=(ConfigFacts(shim="demo", path="share/demo.toml", family=RuntimeFamily.RUST, config=config),),
    )
    recipe = FixtureRecipe(links=(Link(at=RelPath("share/demo.img"), target="demo-1.img"),), notes="")
    listing = "\n".join(
        f"{path} {e.target if isinstance(e, Symlink) else digest_bytes(e.data)}"
        for path, e in render_fixture(facts, recipe).items()
    )
    assert digest_bytes(listing.encode()) == "sha256:b92228e42013aa57237291aacbda717e8fc9bbd99f8ffc568bba36bb58c72c59"


def test_a_link_that_is_no_output_is_a_mistake_of_the_rule():
    facts = ComponentFacts(component="demo", arch=Arch.X86_64, outputs=("bin/demo",), configs=())
    with pytest.raises(BuildError, match='links "bin/other", which is no output on x86_64'):
        render_fixture(facts, FixtureRecipe(links=(Link(at=RelPath("bin/other"), target="demo"),), notes=""))


@pytest.mark.parametrize("component", ["shim-v2-go", "shim-v2-rust"])
@pytest.mark.parametrize("arch", list(Arch))
def test_configurations_carry_the_values_of_the_catalog(component, arch):
    entries = rendered(component, arch)
    seen = 0
    for shim in CATALOG.shims.values():
        if shim.shim_component != component or shim.config_file is None:
            continue
        entry = entries.get(RelPath(f"{shim.config_directory}/{shim.config_file}"))
        if arch not in shim.configs:
            assert entry is None or b"No shim of the catalog uses it" in entry.data
            continue
        seen += 1
        values = shim.configs[arch]
        document = tomllib.loads(entry.data.decode())
        table = document["hypervisor"][values.hypervisor_table]
        assert list(document["hypervisor"]) == [values.hypervisor_table]
        assert table.get("path") == values.hypervisor_path
        assert table.get("kernel") == values.kernel
        assert table.get("image") == (None if values.installed_initrd else values.image)
        assert table.get("initrd") == (values.installed_initrd or values.initrd)
        assert table.get("firmware") == values.firmware
        assert table.get("shared_fs") == values.shared_fs
        assert table.get("virtio_fs_daemon") == values.virtio_fs_daemon
        assert table.get("default_memory") == values.default_memory_mib
        assert table["enable_annotations"] == list(values.enable_annotations)
        assert table.get("confidential_guest", False) == values.confidential_guest
        assert [i["path"] for i in table.get("guest_extension_images", [])] == list(values.guest_extension_images)
        assert document["runtime"]["sandbox_cgroup_only"] == values.sandbox_cgroup_only
        assert document["runtime"]["emptydir_mode"] == values.emptydir_mode
        assert ("hypervisor_name" in document["runtime"]) == (shim.family is RuntimeFamily.RUST)
        assert document["agent"]["kata"]["enable_debug"] is False
        if values.hypervisor_path is not None:
            assert table["valid_hypervisor_paths"] == [values.hypervisor_path]
    assert seen >= 4


def named_paths(value) -> set[str]:
    if isinstance(value, dict):
        return {path for item in value.values() for path in named_paths(item)}
    if isinstance(value, list):
        return {path for item in value for path in named_paths(item)}
    return {value} if isinstance(value, str) and value.startswith("/opt/kata/") else set()


def test_every_path_that_a_configuration_names_is_in_its_cell_where_upstream_provides_it():
    holes = set()
    for shim_name, arch_name in CATALOG.component_map.cells():
        shim, arch = CATALOG.shims[shim_name], Arch(arch_name)
        if arch not in shim.configs:
            holes.add((arch_name, shim_name, "its configuration"))
            continue
        components = CATALOG.component_map.components(shim_name, arch_name)
        tree = merge((name, tree_of(name, arch)) for name in components)
        config = rendered(shim.shim_component, arch)[RelPath(f"{shim.config_directory}/{shim.config_file}")]
        for path in named_paths(tomllib.loads(config.data.decode())):
            below = path.removeprefix("/opt/kata/")
            provided = any(CATALOG.components[name].provides(below, arch) for name in components)
            assert (RelPath(below) in tree.entries) == provided, (shim_name, arch_name, path)
            if not provided:
                holes.add((arch_name, shim_name, below))
    # Upstream's own holes: configurations that name a daemon they do not use, and three others.
    assert {hole for hole in holes if hole[2] != "libexec/virtiofsd"} == {
        ("aarch64", "clh-runtime-rs", "its configuration"),
        ("aarch64", "dragonball", "share/aavmf/AAVMF_CODE.fd"),
    }


def test_the_components_of_a_cell_fit_together():
    for shim, arch in CATALOG.component_map.cells():
        merge((name, tree_of(name, Arch(arch))) for name in CATALOG.component_map.components(shim, arch))


def test_all_stand_ins_of_an_architecture_fit_together():
    for arch in Arch:
        merge((name, tree_of(name, on)) for name, on in FIXTURES if on is arch)
