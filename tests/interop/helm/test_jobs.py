"""Job mode: what the dispatcher is told, and what it gives to the nodes."""

from __future__ import annotations

import itertools

import pytest
import yaml

from .conftest import one, variables

pytestmark = [pytest.mark.interop, pytest.mark.net]

JOB = ("--set", "deploymentMode=job")


def written(tmp_path, values):
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump({"deploymentMode": "job", **values}))
    return ("--values", path)


def arguments(objects, name="kata-deploy-install"):
    return one(objects, "Job", name)["spec"]["template"]["spec"]["containers"][0]["args"]


def given(found, option):
    return [value for word, value in itertools.pairwise(found) if word == option]


def test_the_commands_are_ones_that_the_program_has(helm, tmp_path):
    """Every option rendered is parsed by the real command (which then finds no template file)."""
    from tests.fixtures.cli import run_cli

    values = {"startupTaints": ["a"], "job": {"waitNodeReadySeconds": 10}, "env": {"multiInstallSuffix": "dev"}}
    objects = helm.template(*written(tmp_path, values))
    template = tmp_path / "job.yaml"
    template.write_text(one(objects, "ConfigMap", "kata-deploy-jobs-dev")["data"]["install.yaml"])
    for name in ("kata-deploy-install-dev", "kata-deploy-cleanup-dev"):
        words = [str(template) if word.startswith("/jobs/") else word for word in arguments(objects, name)]
        done = run_cli(*words, "--kubeconfig", tmp_path / "missing")
        assert "no such option" not in done.stderr.lower()
        assert "missing" in done.stderr, "it came as far as the cluster"
        assert done.code != 0


def test_there_is_no_daemonset_and_nodes_get_no_token(helm):
    objects = helm.template(*JOB)
    assert not [o for o in objects if o["kind"] == "DaemonSet"]
    for text in one(objects, "ConfigMap", "kata-deploy-jobs")["data"].values():
        pod = yaml.safe_load(text)["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod


def test_stages_run_in_the_pipelines_order(helm):
    data = one(helm.template(*JOB), "ConfigMap", "kata-deploy-jobs")["data"]

    def stages(text):
        pod = yaml.safe_load(text)["spec"]["template"]["spec"]
        return [c["args"] for c in pod["initContainers"]], [c["args"] for c in pod["containers"]]

    assert stages(data["install.yaml"]) == ([["install-stage-host-check"], ["install-stage-artifacts"]], [["install-stage-cri"]])
    assert stages(data["cleanup.yaml"]) == ([["cleanup-stage-revert-cri"]], [["cleanup-stage-remove-artifacts"]])


def test_a_per_node_job_is_a_template_that_the_dispatcher_accepts(helm, tmp_path):
    from kata_bundle.node.dispatch import JobTemplate

    objects = helm.template(*written(tmp_path, {"tolerations": [{"key": "a", "operator": "Exists"}]}))
    for text in one(objects, "ConfigMap", "kata-deploy-jobs")["data"].values():
        template = JobTemplate.parse(yaml.safe_load(text))
        assert [t.key for t in template.tolerations] == ["a"]


def test_both_modes_configure_the_installer_alike(helm):
    from .conftest import installer

    daemon = variables(installer(helm.template()))
    text = one(helm.template(*JOB), "ConfigMap", "kata-deploy-jobs")["data"]["install.yaml"]
    job = variables(yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0])
    assert {**job, "HEALTH_PORT": "8090"} == daemon


def test_hooks_are_where_helm_runs_them(helm):
    objects = helm.template(*JOB)
    hook = lambda name: one(objects, "Job", name)["metadata"]["annotations"]["helm.sh/hook"]  # noqa: E731
    assert hook("kata-deploy-install") == "post-install,post-upgrade"
    assert hook("kata-deploy-cleanup") == "pre-delete"


def test_selection_is_the_daemonsets(helm, tmp_path):
    terms = [
        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}, {"key": "b", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "c", "operator": "Exists"}, {"key": "d", "operator": "NotIn", "values": ["x"]}]},
    ]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    found = arguments(helm.template(*written(tmp_path, {"nodeSelector": {"pool": "kata"}, "affinity": affinity})))
    assert given(found, "--selector") == ["pool=kata,a in (1,2),!b", "pool=kata,c,d notin (x)"]
    assert given(arguments(helm.template(*written(tmp_path, {"nodeSelector": {"pool": "kata"}}))), "--selector") == ["pool=kata"]
    assert given(arguments(helm.template(*JOB)), "--selector") == []


def test_named_nodes_replace_the_selection(helm, tmp_path):
    values = {"nodeSelector": {"pool": "kata"}, "job": {"nodes": ["w1", "w2"]}}
    found = arguments(helm.template(*written(tmp_path, values)))
    assert (given(found, "--node"), given(found, "--selector")) == (["w1", "w2"], [])


@pytest.mark.parametrize(
    "term",
    [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w"]}]},
        {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]},
    ],
)
def test_what_a_label_selector_cannot_say_is_refused(helm, tmp_path, term):
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    assert "job.nodes" in helm.refuses(*written(tmp_path, {"affinity": affinity}))


def test_cleanup_visits_every_node_ever_claimed_tainted_or_not(helm, tmp_path):
    found = arguments(helm.template(*JOB), "kata-deploy-cleanup")
    assert given(found, "--selector") == ["katacontainers.io/kata-runtime"]
    assert "--ignore-taints" in found
    narrowed = arguments(helm.template(*written(tmp_path, {"job": {"cleanup": {"nodes": ["w1"]}}})), "kata-deploy-cleanup")
    assert (given(narrowed, "--node"), given(narrowed, "--selector")) == (["w1"], [])


def test_pace_and_patience_reach_the_dispatcher_and_the_jobs(helm):
    sets = "job.parallelism=3,job.waitForNodesSeconds=5,job.nodeSettleSeconds=2,job.waitNodeReadySeconds=9,job.backoffLimit=0"
    objects = helm.template(*JOB, "--set", sets)
    found = arguments(objects)
    assert [given(found, o) for o in ("--parallelism", "--wait-for-nodes", "--settle", "--ready-within")] == [
        ["3"],
        ["5"],
        ["2"],
        ["9"],
    ]
    spec = yaml.safe_load(one(objects, "ConfigMap", "kata-deploy-jobs")["data"]["install.yaml"])["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 3600, 600)


def test_the_dispatcher_has_the_rights_it_uses_and_no_root(helm):
    objects = helm.template(*JOB)
    cluster = one(objects, "ClusterRole", "kata-deploy-dispatcher")
    assert {(r, v) for rule in cluster["rules"] for r in rule["resources"] for v in rule["verbs"]} == {
        ("nodes", "get"), ("nodes", "list"), ("nodes", "patch"), ("daemonsets", "list"),
    }  # fmt: skip
    security = one(objects, "Job", "kata-deploy-install")["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert (security["runAsNonRoot"], security["capabilities"]) == (True, {"drop": ["ALL"]})
