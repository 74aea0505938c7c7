"""What each value does: variables, mounts, probes, rights, selection."""

from __future__ import annotations

import pytest
import yaml

from .conftest import installer, one, variables

pytestmark = [pytest.mark.interop, pytest.mark.net]

ONLY_QEMU = ("--set", "shims.disableAll=true", "--set", "shims.qemu.enabled=true")


def written(tmp_path, values):
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return ("--values", path)


def test_an_architecture_without_shims_gets_an_empty_list_not_none(helm, tmp_path):
    values = {"shims": {"disableAll": True, "qemu-tdx": {"enabled": True}}}
    found = variables(installer(helm.template(*written(tmp_path, values))))
    assert {name: value for name, value in found.items() if name.startswith("SHIMS_")} == {
        "SHIMS_X86_64": "qemu-tdx", "SHIMS_AARCH64": "", "SHIMS_S390X": "", "SHIMS_PPC64LE": "",
    }  # fmt: skip


def test_a_default_shim_that_is_not_enabled_is_left_out(helm):
    found = variables(installer(helm.template(*ONLY_QEMU)))
    assert not [name for name in found if name.startswith("DEFAULT_SHIM")]
    found = variables(installer(helm.template(*ONLY_QEMU, "--set", "defaultShim.amd64=qemu")))
    assert {n: v for n, v in found.items() if n.startswith("DEFAULT_SHIM")} == {"DEFAULT_SHIM_X86_64": "qemu"}


def test_null_follows_disable_all_and_true_or_false_wins(helm):
    found = variables(installer(helm.template("--set", "shims.clh.enabled=false,shims.remote.enabled=true")))
    shims = found["SHIMS_X86_64"].split()
    assert "clh" not in shims
    assert {"remote", "qemu"} <= set(shims)


def test_proxies_go_only_to_the_architectures_of_their_shim(helm, tmp_path):
    agent = {"httpsProxy": "http://p:1", "noProxy": "a,b"}
    values = {"shims": {"qemu-se": {"agent": agent}, "qemu-tdx": {"agent": agent}}}
    found = variables(installer(helm.template(*written(tmp_path, values))))
    assert {name: value for name, value in found.items() if name.startswith("AGENT_")} == {
        "AGENT_HTTPS_PROXY_X86_64": "qemu-tdx=http://p:1",
        "AGENT_NO_PROXY_X86_64": "qemu-tdx=a,b",
        "AGENT_HTTPS_PROXY_S390X": "qemu-se=http://p:1",
        "AGENT_NO_PROXY_S390X": "qemu-se=a,b",
    }


def test_per_shim_values_become_variables(helm, tmp_path):
    values = {
        "shims": {
            "disableAll": True,
            "qemu": {
                "enabled": True,
                "supportedArches": ["amd64"],
                "allowedHypervisorAnnotations": ["default_vcpus", "path"],
                "containerd": {"snapshotter": "erofs", "forceGuestPull": True},
            },
            "clh": {"enabled": True, "containerd": {"snapshotter": "nydus"}, "crio": {"guestPull": True}},
        }
    }
    found = variables(installer(helm.template(*written(tmp_path, values))))
    assert {n: v for n, v in found.items() if n.endswith("X86_64")} == {
        "SHIMS_X86_64": "clh qemu",
        "ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64": "qemu:default_vcpus,path",
        "SNAPSHOTTER_HANDLER_MAPPING_X86_64": "clh:nydus,qemu:erofs",
        "PULL_TYPE_MAPPING_X86_64": "clh:guest-pull,qemu:guest-pull",
        "EXPERIMENTAL_FORCE_GUEST_PULL_X86_64": "qemu",
    }


def test_the_rest_of_the_values_become_variables(helm, tmp_path):
    values = {
        "debug": True,
        "devkit": True,
        "env": {"installationPrefix": "/custom", "multiInstallSuffix": "dev"},
        "snapshotter": {
            "setup": ["nydus", "erofs"], "erofsMergeMode": "unmerged", "erofsSnapshotterMode": "memory", "erofsDmverity": True,
        },
        "containerd": {"configFileName": "config.v2.toml", "userDropIn": "x = 1\n"},
        "startupTaints": ["a", "b:NoSchedule"],
        "health": {"port": 9000},
    }  # fmt: skip
    objects = helm.template(*written(tmp_path, values))
    found = variables(installer(objects))
    wanted = {
        "DAEMONSET_NAME": "kata-deploy-dev",
        "DEBUG": "true",
        "DEVKIT": "true",
        "INSTALLATION_PREFIX": "/custom",
        "MULTI_INSTALL_SUFFIX": "dev",
        "EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus,erofs",
        "EROFS_MERGE_MODE": "unmerged",
        "EROFS_SNAPSHOTTER_MODE": "memory",
        "EROFS_DMVERITY": "dmverity",
        "CONTAINERD_CONFIG_FILE_NAME": "config.v2.toml",
        "CONTAINERD_USER_DROP_IN_SOURCE_FILE": "/custom-containerd-config/containerd-user-dropin.toml",
        "STARTUP_TAINTS": "a,b:NoSchedule",
        "HEALTH_PORT": "9000",
        "K8S_DISTRIBUTION": "k8s",
    }
    assert wanted.items() <= found.items()
    assert installer(objects)["args"] == ["--log-level", "debug", "install"]
    assert one(objects, "ConfigMap", "kata-deploy-containerd-dev")["data"] == {"containerd-user-dropin.toml": "x = 1\n"}
    mounts = {m["name"]: m["mountPath"] for m in installer(objects)["volumeMounts"]}
    assert mounts["install"] == "/custom/opt/kata-dev"


def test_devkit_without_debug_is_ignored(helm):
    objects = helm.template("--set", "devkit=true")
    assert "DEVKIT" not in variables(installer(objects))
    assert not [o for o in objects if o["metadata"]["name"].endswith("-devkit")]


@pytest.mark.parametrize(
    ("distribution", "configuration", "sockets"),
    [
        ("k8s", "/etc/containerd/", {"/run/containerd", "/run/crio"}),
        ("k3s", "/var/lib/rancher/k3s/agent/etc/containerd/", {"/run/k3s/containerd"}),
        ("rke2", "/var/lib/rancher/rke2/agent/etc/containerd/", {"/run/k3s/containerd"}),
        ("k0s", "/etc/k0s/", {"/run/k0s"}),
        ("microk8s", "/var/snap/microk8s/current/args/", {"/var/snap/microk8s/common/run"}),
    ],
)
def test_each_distribution_has_its_directories(helm, distribution, configuration, sockets):
    from kata_bundle.node.cri_api.values import cri_socket
    from kata_bundle.node.runtime import Runtime

    objects = helm.template("--set", f"k8sDistribution={distribution}")
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    hosts = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    assert hosts["containerd-conf"] == configuration
    found = {m["mountPath"]: m for m in installer(objects)["volumeMounts"] if m["name"].startswith("cri-")}
    assert set(found) == sockets
    assert {m["mountPropagation"] for m in found.values()} == {"HostToContainer"}, (
        "mounts that the runtime ends must end here too"
    )
    assert all(hosts[m["name"]] == path for path, m in found.items())
    asked = {cri_socket(r).rpartition("/")[0] for r in Runtime if r.value.startswith(distribution.removesuffix("s"))}
    assert distribution == "k8s" or asked <= sockets, "where the installer asks the CRI"


def test_an_own_configuration_directory_takes_the_distribution_check_away(helm):
    objects = helm.template("--set", "containerd.configDir=/etc/my/,k8sDistribution=k3s")
    assert "K8S_DISTRIBUTION" not in variables(installer(objects))
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert [v["hostPath"]["path"] for v in pod["volumes"] if v["name"] == "containerd-conf"] == ["/etc/my/"]


def test_an_own_socket_directory_is_mounted_where_the_installer_asks(helm):
    objects = helm.template("--set", "containerd.runtimeSocket=unix:///run/other/containerd.sock")
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    hosts = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    assert hosts["cri-run-containerd"] == "/run/other"


def test_the_pod_is_confined_and_has_every_mount(helm):
    objects = helm.template()
    pod = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    container = installer(objects)
    security = container["securityContext"]
    assert (security["privileged"], security["readOnlyRootFilesystem"], pod["hostNetwork"]) == (False, True, False)
    assert (pod["terminationGracePeriodSeconds"], pod["priorityClassName"]) == (600, "system-node-critical")
    assert container["resources"] == {"requests": {"cpu": "25m", "memory": "16Mi"}}
    assert one(objects, "DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}
    read_only = {m["mountPath"] for m in container["volumeMounts"] if m.get("readOnly")}
    assert read_only == {
        "/boot", "/host-machine-id", "/host-usr/bin", "/host-usr/sbin", "/host-usr-local/bin", "/host-usr-local/sbin",
        "/host-bin", "/host-sbin", "/run/containerd", "/run/crio",
    }  # fmt: skip
    writable = {m["mountPath"] for m in container["volumeMounts"]} - read_only
    assert writable == {
        "/tmp", "/etc/crio/", "/etc/containerd/", "/opt/kata", "/etc/systemd/system", "/run/systemd/private", "/host-run-lock",
    }  # fmt: skip
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_probes_are_the_contracts_and_each_can_be_switched_off(helm):
    container = installer(helm.template())
    get = lambda path: {"path": path, "port": "health"}  # noqa: E731
    assert container["startupProbe"] == {
        "httpGet": get("/readyz"), "initialDelaySeconds": 1, "periodSeconds": 10, "failureThreshold": 60, "timeoutSeconds": 3,
    }  # fmt: skip
    assert container["livenessProbe"] == {
        "httpGet": get("/healthz"), "periodSeconds": 30, "failureThreshold": 3, "timeoutSeconds": 3,
    }  # fmt: skip
    assert container["readinessProbe"] == {
        "httpGet": get("/readyz"), "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 3,
    }  # fmt: skip
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        off = installer(helm.template("--set", f"health.{name}.enabled=false"))
        assert {key for key in container if key.endswith("Probe")} - {key for key in off if key.endswith("Probe")} == {name}


def test_changed_files_change_the_pods_checksums_and_nobody_overrides_them(helm, tmp_path):
    def annotations(values):
        template = one(helm.template(*written(tmp_path, values)), "DaemonSet")["spec"]["template"]
        return template["metadata"]["annotations"]

    plain = annotations({})
    mine = annotations({"podAnnotations": {"checksum/user-drop-in": "mine", "note": "kept"}})
    assert mine == {**plain, "note": "kept"}
    assert annotations({"containerd": {"userDropIn": "a = 1"}})["checksum/user-drop-in"] != plain["checksum/user-drop-in"]
    assert annotations({"shims": {"qemu": {"dropIn": "a = 1"}}})["checksum/custom-configs"] != plain["checksum/custom-configs"]


def test_pod_labels_cannot_take_the_name_away(helm):
    objects = helm.template("--set", "podLabels.name=x,podLabels.team=y")
    assert one(objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"] == {"name": "kata-deploy", "team": "y"}


def test_drop_ins_and_custom_runtimes_are_mounted_as_the_installer_reads_them(helm, tmp_path):
    runtimes = {
        "gpu": {
            "baseConfig": "qemu-nvidia-gpu",
            "dropIn": "[hypervisor.qemu]\ndefault_memory = 1024\n",
            "runtimeClass": "kind: RuntimeClass\napiVersion: node.k8s.io/v1\nmetadata:\n  name: kata-mine\nhandler: kata-mine\n",
            "containerd": {"snapshotter": "nydus"},
            "crio": {"pullType": "guest-pull"},
        },
        "bare": {"baseConfig": "clh", "inheritBaseOverhead": False, "runtimeClass": "metadata: {name: b}\nhandler: b\n"},
    }
    values = {"shims": {"qemu": {"dropIn": "x = 1\n"}}, "customRuntimes": {"enabled": True, "runtimes": runtimes}}
    objects = helm.template(*written(tmp_path, values))
    assert one(objects, "ConfigMap", "kata-deploy-custom")["data"] == {
        "custom-runtimes.list": "b:clh::\nkata-mine:qemu-nvidia-gpu:nydus:guest-pull\n",
        "dropin-kata-mine.toml": "[hypervisor.qemu]\ndefault_memory = 1024\n",
        "dropin-qemu.toml": "x = 1\n",
    }
    assert variables(installer(objects))["CUSTOM_RUNTIMES_ENABLED"] == "true"
    inherited = one(objects, "RuntimeClass", "kata-mine")
    base = one(objects, "RuntimeClass", "kata-qemu-nvidia-gpu")
    assert inherited["overhead"] == base["overhead"]
    assert inherited["scheduling"]["nodeSelector"] == {"kata-deploy.katacontainers.io/default": "true"}
    assert "overhead" not in one(objects, "RuntimeClass", "b")


def test_overheads_can_be_overridden_and_switched_off(helm):
    objects = helm.template("--set", "shims.qemu.runtimeClass.overhead.memory=1Gi")
    assert one(objects, "RuntimeClass", "kata-qemu")["overhead"]["podFixed"]["memory"] == "1Gi"
    objects = helm.template("--set", "runtimeClasses.overheadEnabled=false,shims.qemu.runtimeClass.overheadEnabled=true")
    assert [o["handler"] for o in objects if o["kind"] == "RuntimeClass" and "overhead" in o] == ["kata-qemu"]


def test_the_default_class_follows_amd64_first_and_never_has_a_suffix(helm):
    objects = helm.template("--set", "runtimeClasses.createDefault=true")
    assert one(objects, "RuntimeClass", "kata")["handler"] == "kata-qemu-runtime-rs"
    objects = helm.template("--set", "runtimeClasses.createDefault=true,env.multiInstallSuffix=dev")
    assert not [o for o in objects if o["metadata"]["name"] == "kata"]
    assert one(objects, "RuntimeClass", "kata-qemu-dev")["metadata"]["labels"]["kata-deploy/instance"] == "dev"


def test_a_suffix_is_everywhere(helm):
    objects = helm.template("--set", "env.multiInstallSuffix=dev")
    names = {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] != "RuntimeClass"}
    assert {n for n in names if not n[1].endswith("-dev")} == {("ConfigMap", "t-kata-deploy-state")}
    assert one(objects, "ConfigMap", "t-kata-deploy-state")["data"] == {"suffix": "dev", "deploymentMode": "daemonset"}


def test_the_daemonsets_rights_are_few_and_outlive_the_release(helm):
    objects = helm.template(*ONLY_QEMU)
    role = one(objects, "ClusterRole", "kata-deploy-role")
    rules = {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    assert rules == {
        ("nodes", "get"), ("nodes", "patch"), ("daemonsets", "get"), ("daemonsets", "list"), ("daemonsets", "watch"),
    }  # fmt: skip
    for kind, name in (
        ("ServiceAccount", "kata-deploy-sa"),
        ("ClusterRole", "kata-deploy-role"),
        ("ClusterRoleBinding", "kata-deploy-rb"),
    ):
        assert one(objects, kind, name)["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_kubelet_may_be_asked_only_where_something_is_pulled_in_a_guest(helm):
    def resources(*more):
        return {r for rule in one(helm.template(*more), "ClusterRole", "kata-deploy-role")["rules"] for r in rule["resources"]}

    assert "nodes/proxy" not in resources(*ONLY_QEMU)
    assert "nodes/proxy" in resources(*ONLY_QEMU, "--set", "shims.qemu.crio.guestPull=true")


def test_what_outlives_the_release_is_removed_by_a_job_that_may_list_pods_and_waits_longer_than_they_may_take(helm):
    objects = helm.template("--set", "env.multiInstallSuffix=dev")
    job = one(objects, "Job", "kata-deploy-release-dev")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-delete"
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["node", "release", "--pods", "name=kata-deploy-dev", "--within", "900", "--suffix", "dev"]
    assert job["spec"]["activeDeadlineSeconds"] > 900 > 600
    role = one(objects, "Role", "kata-deploy-release-dev")
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]} in role["rules"]
    cluster = one(objects, "ClusterRole", "kata-deploy-release-dev")
    assert [rule["resourceNames"] for rule in cluster["rules"]] == [["kata-deploy-role-dev"], ["kata-deploy-rb-dev"]]


def test_verification_waits_for_the_suffixed_pods(helm, tmp_path):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "v"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    values = {"verification": {"pod": yaml.safe_dump(pod)}, "env": {"multiInstallSuffix": "dev"}}
    objects = helm.template(*written(tmp_path, values))
    job = one(objects, "Job", "kata-deploy-verify-dev")
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["node", "await", "--daemonset", "kata-deploy-dev", "--within", "1200"]
    assert one(objects, "Role", "kata-deploy-verify-dev")["rules"][0]["resourceNames"] == ["kata-deploy-dev"]
    found = one(objects, "Pod", "v")
    weight = lambda o: int(o["metadata"]["annotations"]["helm.sh/hook-weight"])  # noqa: E731
    assert weight(found) > weight(job)
    assert (found["metadata"]["namespace"], found["spec"]["activeDeadlineSeconds"]) == ("default", 180)


BUNDLE = "registry.test:5000/kata/bundle@sha256:" + "0" * 64


@pytest.mark.parametrize("mode", ["daemonset", "job"])
def test_a_bundle_to_pull_reaches_every_stage_with_its_credentials(helm, mode):
    sets = ("--set", f"deploymentMode={mode},bundle={BUNDLE}")
    objects = helm.template(*sets)
    text = yaml.safe_dump_all(objects)
    assert BUNDLE in text
    assert "bundle-credentials" not in text
    objects = helm.template(*sets, "--set", "bundleCredentials=login")
    if mode == "job":
        template = yaml.safe_load(one(objects, "ConfigMap", "kata-deploy-jobs")["data"]["install.yaml"])["spec"]["template"]
        containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    else:
        template = one(objects, "DaemonSet")["spec"]["template"]
        containers = template["spec"]["containers"]
    for container in containers:
        found = variables(container)
        assert (found["KATA_BUNDLE_PAYLOAD"], found["DOCKER_CONFIG"]) == (BUNDLE, "/bundle-credentials")
        assert {"name": "bundle-credentials", "mountPath": "/bundle-credentials", "readOnly": True} in container["volumeMounts"]
    (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "bundle-credentials"]
    assert volume["secret"] == {"secretName": "login", "items": [{"key": ".dockerconfigjson", "path": "config.json"}]}


def test_without_a_bundle_nothing_is_pulled(helm):
    objects = helm.template("--set", "bundleCredentials=login")
    assert not {"KATA_BUNDLE_PAYLOAD", "DOCKER_CONFIG", "KATA_BUNDLE_EVENTS"} & set(variables(installer(objects)))
    assert "bundle-credentials" not in yaml.safe_dump_all(objects)


def test_events_are_asked_for_with_the_right_to_make_them_where_those_of_nodes_live(helm):
    objects = helm.template("--set", "events=true,env.multiInstallSuffix=dev", "--namespace", "other")
    assert variables(installer(objects))["KATA_BUNDLE_EVENTS"] == "true"
    role = one(objects, "Role", "kata-deploy-events-dev")
    assert role["metadata"]["namespace"] == "default"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
    binding = one(objects, "RoleBinding", "kata-deploy-events-dev")
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == ("kata-deploy-events-dev", "kata-deploy-sa-dev")
    for quiet in (helm.template(), helm.template("--set", "events=true,deploymentMode=job")):
        assert "events" not in yaml.safe_dump_all(quiet)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("bundle=registry.test/kata/bundle:v1", "bundle"),
        ("bundle=kata@sha256:12", "bundle"),
        ("bundleCredentials=My Login", "bundleCredentials"),
        ("env.multiInstallSuffix=v1.2", "multiInstallSuffix"),
        ("env.installationPrefix=opt", "installationPrefix"),
        ("shims.qemuu.enabled=true", "qemuu"),
        ("shims.qemu-se.supportedArches={amd64}", "supportedArches"),
        ("defaultShim.amd64=nothing", "defaultShim"),
        ("deploymentMode=both", "deploymentMode"),
        ("k8sDistribution=minikube", "k8sDistribution"),
        ("snapshotter.erofsMergeMode=merge", "erofsMergeMode"),
        ("snapshotter.setup={stargz}", "setup"),
        ("job.ttlSecondsAfterFinished=59", "ttlSecondsAfterFinished"),
        ("health.port=0", "port"),
        ("healht.port=1", "healht"),
        ("containerd.configFileName=../x", "configFileName"),
        ("customRuntimes.enabled=true,customRuntimes.runtimes.x.baseConfig=nothing", "baseConfig"),
        ("shims.qemu.runtimeClass.nodeSelector.kata-deploy\\.katacontainers\\.io/default=x", "restates"),
        ("node-feature-discovery.enabled=true", "install it first"),
        ("verification.pod=kind: Job", "verification.pod"),
    ],
)
def test_wrong_values_are_refused_by_name(helm, setting, word):
    assert word in helm.refuses("--set", setting)
