"""RuntimeClass objects: names, labels, selectors, overheads, and the choices that exclude each other."""

from __future__ import annotations

import pytest
import yaml

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import UsageError
from kata_bundle.generate.runtimeclasses import ClassOptions, class_name, render_runtime_classes, runtime_classes, select_shims

X, A, S, P = Arch.X86_64, Arch.AARCH64, Arch.S390X, Arch.PPC64LE


def made(catalog, words=("qemu",), arches=(), **options):
    return runtime_classes(catalog, select_shims(catalog, words, arches), ClassOptions(**options), arches=arches)


def names(objects):
    return [item["metadata"]["name"] for item in objects]


def test_a_plain_class_is_complete(catalog):
    assert made(catalog) == (
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {
                "name": "kata-qemu",
                "labels": {"app.kubernetes.io/managed-by": "kata-deploy", "kata-deploy/instance": "default"},
            },
            "handler": "kata-qemu",
            "overhead": {"podFixed": {"memory": "320Mi", "cpu": "250m"}},
            "scheduling": {
                "nodeSelector": {"katacontainers.io/kata-runtime": "true", "kata-deploy.katacontainers.io/default": "true"}
            },
        },
    )


def test_a_suffix_is_in_name_handler_instance_and_own_label(catalog):
    (plain, debug) = made(catalog, suffix="blue", debug=True)
    assert (plain["metadata"]["name"], plain["handler"]) == ("kata-qemu-blue", "kata-qemu-blue")
    assert debug["metadata"]["name"] == debug["handler"] == "kata-qemu-blue-debug"
    assert plain["metadata"]["labels"]["kata-deploy/instance"] == "blue"
    assert plain["scheduling"]["nodeSelector"] == {
        "katacontainers.io/kata-runtime": "true",
        "kata-deploy.katacontainers.io/blue": "true",
    }


def test_variants_follow_the_plain_classes(catalog):
    objects = made(catalog, ("clh", "qemu"), debug=True, devkit=True)
    assert names(objects) == ["kata-clh", "kata-qemu", "kata-clh-debug", "kata-qemu-debug", "kata-clh-devkit", "kata-qemu-devkit"]


def test_the_default_class_stands_for_the_default_shim_and_equals_its_class(catalog):
    objects = made(catalog, ("qemu", "qemu-runtime-rs"), default_class=True, debug=True)
    assert names(objects)[:3] == ["kata-qemu", "kata-qemu-runtime-rs", "kata"]
    shim, default = objects[1], objects[2]
    assert default["handler"] == "kata-qemu-runtime-rs"
    assert {**default, "metadata": None} == {**shim, "metadata": None}
    assert "kata-debug" not in names(objects)


def test_with_discovery_confidential_classes_select_capable_nodes_and_request_a_key(catalog):
    snp, tdx, se, gpu = (
        made(catalog, (shim,), discovery=True)[0] for shim in ("qemu-snp", "qemu-tdx", "qemu-se", "qemu-nvidia-gpu-snp")
    )
    assert snp["overhead"]["podFixed"]["sev-snp.amd.com/esids"] == "1"
    assert snp["scheduling"]["nodeSelector"]["amd.feature.node.kubernetes.io/snp"] == "true"
    assert tdx["overhead"]["podFixed"]["tdx.intel.com/keys"] == "1"
    assert se["overhead"]["podFixed"] == {"memory": "1024Mi", "cpu": "1.0"}
    assert se["scheduling"]["nodeSelector"]["feature.node.kubernetes.io/cpu-security.se.enabled"] == "true"
    assert gpu["scheduling"]["nodeSelector"]["nvidia.com/cc.ready.state"] == "true"
    plain = made(catalog, ("qemu-snp",))[0]
    assert plain["overhead"]["podFixed"] == {"memory": "2048Mi", "cpu": "1.0"}
    assert len(plain["scheduling"]["nodeSelector"]) == 2


def test_without_overheads_only_keys_are_left(catalog):
    assert "overhead" not in made(catalog, overhead=False)[0]
    assert made(catalog, ("qemu-snp",), overhead=False, discovery=True)[0]["overhead"] == {
        "podFixed": {"sev-snp.amd.com/esids": "1"}
    }


def test_the_release_is_named_only_when_known(catalog):
    assert "annotations" not in made(catalog)[0]["metadata"]
    assert made(catalog, kata_version="4.1.0")[0]["metadata"]["annotations"] == {"katacontainers.io/kata-version": "4.1.0"}


def test_numbers_stay_texts_in_yaml(catalog):
    (document,) = yaml.safe_load_all(
        render_runtime_classes(catalog, select_shims(catalog, ("qemu-se",), ()), ClassOptions(kata_version="4.10"))
    )
    assert document["overhead"]["podFixed"]["cpu"] == "1.0"
    assert document["metadata"]["annotations"]["katacontainers.io/kata-version"] == "4.10"
    assert document["scheduling"]["nodeSelector"]["katacontainers.io/kata-runtime"] == "true"


def test_words_stand_for_sets_and_architectures_narrow_them(catalog):
    assert "remote" not in [s.name for s in select_shims(catalog, (), ())]
    assert "remote" in [s.name for s in select_shims(catalog, ("all",), ())]
    assert [s.name for s in select_shims(catalog, ("default",), (P,))] == ["qemu", "qemu-runtime-rs"]
    assert {s.name for s in select_shims(catalog, (), (S,))} == {
        "qemu", "qemu-runtime-rs", "qemu-se", "qemu-se-runtime-rs", "qemu-coco-dev", "qemu-coco-dev-runtime-rs",
    }  # fmt: skip
    # The chart offers it on x86_64 only, the component map has it on aarch64 too.
    assert [s.name for s in select_shims(catalog, ("clh",), (A,))] == ["clh"]


@pytest.mark.parametrize("suffix", ["", "a.b", "A", "-a", "a-", "a" * 31, "a/b", "ä", "a\n", " "])
def test_a_suffix_that_could_not_name_an_install_is_refused(suffix):
    with pytest.raises(UsageError, match="install suffix"):
        ClassOptions(suffix=suffix)


@pytest.mark.parametrize("suffix", ["a", "1", "a-b", "a" * 30])
def test_any_other_is_taken(suffix):
    assert class_name("qemu", suffix=ClassOptions(suffix=suffix).suffix, variant="debug") == f"kata-qemu-{suffix}-debug"


def test_choices_that_exclude_each_other_are_refused():
    with pytest.raises(UsageError, match="never made with an install suffix"):
        ClassOptions(suffix="a", default_class=True)
    with pytest.raises(UsageError, match="only beside debug"):
        ClassOptions(devkit=True)


@pytest.mark.parametrize(
    ("words", "arches", "message", "hint"),
    [
        (("qemuu", "zzz"), (), 'no RuntimeClass is made for "qemuu"; no RuntimeClass is made for "zzz"', 'did you mean "qemu"?'),
        (("stratovirt",), (), 'no RuntimeClass is made for "stratovirt"', None),
        (("firecracker",), (), 'no RuntimeClass is made for "firecracker"', None),
        (("qemu-se",), (X,), "no RuntimeClass is left on x86_64", None),
    ],
)
def test_a_shim_without_a_class_is_named(catalog, words, arches, message, hint):
    with pytest.raises(UsageError) as caught:
        select_shims(catalog, words, arches)
    assert message in str(caught.value)
    assert hint is None or hint in caught.value.hint


def test_a_default_class_for_a_shim_that_is_not_selected_is_refused(catalog):
    with pytest.raises(UsageError, match='the default shim "qemu-runtime-rs" is not among the selected ones'):
        made(catalog, ("qemu",), default_class=True)
