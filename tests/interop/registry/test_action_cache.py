"""A real registry as cache of actions."""

from __future__ import annotations

import json

import pytest

from kata_bundle.build.action import encode_action
from kata_bundle.build.remote import Guarded
from kata_bundle.build.remote.ocicache import ARTIFACT_TYPE, OciCache
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.oci.registry import RegistrySettings, parse_reference
from kata_bundle.store import Store
from tests.interop.registry.conftest import QUICK
from tests.unit.build_sandbox.conftest import builder, busybox, sandbox, shell, store  # noqa: F401

pytestmark = pytest.mark.interop


@pytest.fixture
def cache(registry, tmp_path):
    settings = RegistrySettings(environment={"HOME": str(tmp_path)}, limits=QUICK, hosts_folders=())
    return OciCache(parse_reference(f"{registry.address}/cache/{tmp_path.name.replace('_', '-').lower()}"), settings)


@pytest.fixture
def other(tmp_path) -> Store:
    return Store(tmp_path / "other" / "store", durable=False)


def run(store, action, cache, **more):  # noqa: F811
    return Workshop(caches=(Guarded(cache),), **more).run(store, action, memory_mib=None, is_cancelled=lambda: False)


def test_the_second_machine_makes_nothing(cache, repository, store, other, shell, sandbox):  # noqa: F811
    action = shell(
        "mkdir -p out/bin out/empty; cat /proc/sys/kernel/random/uuid > out/id; seq 1 200000 > out/large; : > out/nothing; "
        "echo x > out/bin/x; chmod 755 out/bin/x; ln -s bin/x out/link; cp out/id out/twin"
    )
    made = run(store, action, cache)
    found = run(other, action, cache, is_remote_only=True)
    assert found.outputs == made.outputs
    assert not other.missing_files(found.outputs)
    address, _, name = cache.name.removeprefix("oci://").partition("/")
    manifest = json.loads(repository(address, name).manifest(hex_part(encode_action(action).digest)).data)
    assert manifest["artifactType"] == ARTIFACT_TYPE


def test_a_tag_that_leads_to_another_action_is_not_believed(cache, repository, store, other, shell, sandbox):  # noqa: F811
    one, two = shell("mkdir out; echo 1 > out/x"), shell("mkdir out; echo 2 > out/x")
    run(store, one, cache)
    address, _, name = cache.name.removeprefix("oci://").partition("/")
    there = repository(address, name)
    there.put_tag(there.manifest(hex_part(encode_action(one).digest)), hex_part(encode_action(two).digest))
    with pytest.raises(IntegrityError, match="not about the action"):
        cache.find(other, two, encode_action(two))
    # Whoever makes it puts that right.
    made = run(store, two, cache)
    assert run(other, two, cache, is_remote_only=True).outputs == made.outputs


def test_a_layer_without_the_files_of_its_tree_is_not_believed(cache, repository, store, other, shell, sandbox):  # noqa: F811
    one, two = shell("mkdir out; echo 1 > out/x"), shell("mkdir out; echo 2 > out/x")
    run(store, one, cache)
    run(store, two, cache)
    address, _, name = cache.name.removeprefix("oci://").partition("/")
    there = repository(address, name)
    tag = hex_part(encode_action(two).digest)
    forged = json.loads(there.manifest(tag).data)
    forged["layers"][1] = json.loads(there.manifest(hex_part(encode_action(one).digest)).data)["layers"][1]
    there.put_manifest(json.dumps(forged).encode(), forged["mediaType"], tag=tag)
    with pytest.raises(IntegrityError, match="lacks files"):
        cache.find(other, two, encode_action(two))


def test_an_action_that_nobody_made_is_a_miss(cache, store, shell):  # noqa: F811
    action = shell("mkdir out; echo never > out/x")
    assert cache.find(store, action, encode_action(action)) is None
