"""helm accepts the chart and renders what Kubernetes' own schemas accept, for every distribution, mode and profile."""

from __future__ import annotations

import json

import pytest
import yaml

from .conftest import CHART, PROFILES, ROOT, one

pytestmark = [pytest.mark.interop, pytest.mark.net]

DISTRIBUTIONS = ("k8s", "k3s", "rke2", "k0s", "microk8s")
MODES = ("daemonset", "job")
PROFILE_FILES = sorted(PROFILES.glob("*.yaml"))
NFD = ("--api-versions", "nfd.k8s-sigs.io/v1alpha1/NodeFeatureRule")


def check(objects: list[dict]) -> None:
    """Validate against the schemas of Kubernetes, nested templates too; unknown members are errors."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate

    for document in objects:
        if document["apiVersion"].startswith("nfd."):
            continue  # not a kind of Kubernetes itself
        kubernetes_validate.validate(document, "1.36", strict=True)
        if document["kind"] == "ConfigMap" and document["metadata"]["name"].startswith("kata-deploy-jobs"):
            for text in document["data"].values():
                kubernetes_validate.validate(yaml.safe_load(text), "1.36", strict=True)


def test_lint_finds_nothing_wrong(helm):
    done = helm.run("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("profile", PROFILE_FILES, ids=lambda path: path.name)
def test_lint_accepts_the_profiles(helm, profile):
    done = helm.run("lint", "--strict", CHART, "--values", profile)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_distribution_and_mode_gives_valid_objects(helm, distribution, mode):
    check(helm.template("--set", f"k8sDistribution={distribution},deploymentMode={mode}"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("profile", PROFILE_FILES, ids=lambda path: path.name)
def test_every_profile_renders_unchanged_and_valid(helm, profile, mode):
    objects = helm.template("--values", profile, "--set", f"deploymentMode={mode}")
    check(objects)
    values = yaml.safe_load(profile.read_text())
    enabled = {name for name, shim in values["shims"].items() if isinstance(shim, dict) and shim["enabled"]}
    assert {o["handler"] for o in objects if o["kind"] == "RuntimeClass"} == {f"kata-{name}" for name in enabled}


def test_everything_switched_on_is_valid_too(helm, tmp_path):
    values = {
        "debug": True,
        "devkit": True,
        "env": {"multiInstallSuffix": "dev", "installationPrefix": "/custom"},
        "containerd": {"userDropIn": "a = 1\n", "runtimeSocket": "unix:///run/other/containerd.sock"},
        "nodeSelector": {"pool": "kata"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "startupTaints": ["katacontainers.io/kata-runtime:NoSchedule"],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "x", "operator": "In", "values": ["1", "2"]}]}]
                }
            }
        },
        "imagePullSecrets": [{"name": "pull"}],
        "podLabels": {"team": "platform", "name": "mine"},
        "podAnnotations": {"checksum/custom-configs": "mine", "note": "x"},
        "monitor": {"enabled": True},
        "node-feature-discovery": {"enabled": True},
        "verification": {"pod": "{apiVersion: v1, kind: Pod, metadata: {name: v}, spec: {containers: [{name: c, image: i}]}}"},
        "customRuntimes": {
            "enabled": True,
            "runtimes": {
                "mine": {
                    "baseConfig": "qemu",
                    "dropIn": "[hypervisor.qemu]\n",
                    "runtimeClass": "metadata: {name: kata-mine}\nhandler: kata-mine\n",
                }
            },
        },
    }
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    for mode in MODES:
        check(helm.template("--values", path, "--set", f"deploymentMode={mode}", *NFD))


def test_classes_are_upstreams_but_for_this_installs_mark(helm):
    """The one difference: each class selects this install's own mark too, so that one install's readiness is not another's."""
    upstream = json.loads((ROOT / "tests/fixtures/upstream/runtimeclasses.json").read_text())["classes"]
    wanted = {}
    for entry in upstream:
        if entry["rendered_by_default"]:
            selector = {**entry["node_selector_always"], **entry["node_selector_from_values"]}
            own = {"kata-deploy.katacontainers.io/default": "true"}
            wanted[entry["name"]] = (entry["handler"], entry["overhead"], {**selector, **own})
    found = {
        o["metadata"]["name"]: (o["handler"], o["overhead"]["podFixed"], o["scheduling"]["nodeSelector"])
        for o in helm.template()
        if o["kind"] == "RuntimeClass"
    }
    assert found == wanted


def test_with_feature_discovery_tee_classes_select_and_count_as_upstreams_do(helm):
    upstream = json.loads((ROOT / "tests/fixtures/upstream/runtimeclasses.json").read_text())["classes"]
    objects = helm.template(*NFD)
    one(objects, "NodeFeatureRule")
    found = {o["handler"]: o for o in objects if o["kind"] == "RuntimeClass"}
    for entry in upstream:
        if entry["rendered_by_default"]:
            have = found[entry["handler"]]
            assert entry["node_selector_when_nfd"].items() <= have["scheduling"]["nodeSelector"].items()
            keys = entry["overhead_extended_resources_when_nfd_rules"]
            assert have["overhead"]["podFixed"] == {**entry["overhead"], **keys}


def test_keys_are_requested_exactly_when_their_rule_is_rendered(helm):
    objects = helm.template("--set", "nodeFeatureRules.create=false", *NFD)
    assert not [o for o in objects if o["kind"] == "NodeFeatureRule"]
    assert not [o for o in objects if o["kind"] == "RuntimeClass" and len(o["overhead"]["podFixed"]) > 2]
    objects = helm.template("--set", "nodeFeatureRules.create=true")
    one(objects, "NodeFeatureRule")
    assert len([o for o in objects if o["kind"] == "RuntimeClass" and len(o["overhead"]["podFixed"]) > 2]) == 8


@pytest.mark.parametrize("options", [(), ("--debug",), ("--debug", "--devkit"), ("--suffix", "dev")], ids=" ".join)
def test_the_chart_and_generate_runtimeclasses_give_the_same_classes(helm, options):
    from tests.fixtures.cli import run_cli

    text = run_cli("generate", "runtimeclasses", "--kata-version", "4.1.0", *options).stdout
    names = {"--debug": "debug=true", "--devkit": "devkit=true", "dev": "env.multiInstallSuffix=dev"}
    sets = [part for option in options if option in names for part in ("--set", names[option])]
    objects = [o for o in helm.template(*sets) if o["kind"] == "RuntimeClass"]
    key = lambda o: o["metadata"]["name"]  # noqa: E731
    assert sorted(objects, key=key) == sorted(yaml.safe_load_all(text), key=key)
