"""``values.yaml``: what the catalog decides, and what is about the installer itself, with a comment on each section.

Names, defaults and meaning are those of installer specification §2.5 and §28 and of the chart that operators have values files
for; where a default differs, the comment says so. Must not know: templates.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.generate.chartvalues import OWNERSHIP_LABEL, chart_values
from kata_bundle.generate.yamltext import render_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.manifest.catalog import Catalog

__all__ = ["full_values", "render_values"]

_PROBE: Final = {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 3}

_BEFORE: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        (
            "daemonset: a pod on every matching node installs, stays, and removes the installation when the DaemonSet goes.",
            "job: one Job per node installs and ends; nodes that join later are installed by the next helm upgrade.",
            "Neither this nor env.multiInstallSuffix can be changed by an upgrade.",
        ),
        {"deploymentMode": "daemonset"},
    ),
    (
        (
            "With deploymentMode job only.",
            "",
            "dispatcherImage: image of the Job that makes the per-node Jobs; empty for the installer's own. It has to",
            "be an image of this",
            "project: the dispatcher is called with its command line.",
            "dispatcherNodeSelector, dispatcherTolerations: where the dispatcher itself runs, the one pod with",
            "credentials; without",
            "tolerations of its own it has the top-level ones.",
            "parallelism: nodes worked on at once. nodes: exactly these, tainted or not, instead of nodeSelector and affinity.",
            "waitForNodesSeconds: for eligible nodes to appear (0: none is fine); nodeSettleSeconds: that their set",
            "must stay the same.",
            "waitNodeReadySeconds: for a node to be Ready again after its Job.",
            "cleanup: the nodes visited by helm uninstall; by default every node that an install ever claimed.",
            "ttlSecondsAfterFinished (60 or more), activeDeadlineSeconds, backoffLimit: of each node's Job.",
        ),
        {
            "job": {
                "dispatcherImage": {"reference": "", "tag": ""},
                "dispatcherNodeSelector": {},
                "dispatcherTolerations": [],
                "parallelism": 100,
                "nodes": [],
                "waitForNodesSeconds": 120,
                "nodeSettleSeconds": 15,
                "waitNodeReadySeconds": 300,
                "cleanup": {
                    "nodes": [],
                    "nodeSelector": {},
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [{"key": OWNERSHIP_LABEL, "operator": "Exists"}]}]
                        }
                    },
                },
                "ttlSecondsAfterFinished": 600,
                "activeDeadlineSeconds": 3600,
                "backoffLimit": 3,
            }
        },
    ),
    (
        (
            "The installer's image, made by kata-bundle generate image and pushed where the cluster can pull it. A",
            "reference with a",
            "digest (name@sha256:…) is used as it is; an empty tag is the chart's version.",
        ),
        {
            "imagePullPolicy": "Always",
            "imagePullSecrets": [],
            "image": {"reference": "kata-bundle/kata-deploy", "tag": ""},
        },
    ),
    (
        (
            "bundle: name of a bundle in a registry, by digest (registry/repository@sha256:…), that nodes pull instead",
            "of unpacking what their image holds; for an image made with --pull. bundleCredentials: a Secret of type",
            "kubernetes.io/dockerconfigjson in this namespace, for a registry that asks who is there.",
        ),
        {"bundle": "", "bundleCredentials": ""},
    ),
    (
        ("Not used: the chart's jobs run the installer's image. Taken so that existing values files work.",),
        {"kubectlImage": {"reference": "", "tag": ""}},
    ),
    (
        (
            "kata-monitor on every installed node; its image is not made by this project. An empty runtimeEndpoint follows",
            "containerd.runtimeSocket, then k8sDistribution; an empty logLevel follows the chart's.",
        ),
        {
            "monitor": {
                "enabled": False,
                "image": {"reference": "kata-containers/kata-monitor", "tag": ""},
                "listenAddress": "0.0.0.0:8090",
                "runtimeEndpoint": "",
                "logLevel": "",
                "port": 8090,
                "securityContext": {"privileged": False, "runAsUser": 0, "runAsGroup": 0},
                "resources": {"limits": {"cpu": "200m", "memory": "300Mi"}, "requests": {"cpu": "200m", "memory": "300Mi"}},
            }
        },
    ),
    (
        (
            "k8s, k3s, rke2, k0s or microk8s: decides the host directories of containerd's configuration and of the",
            "CRI socket. The",
            "installer refuses a node whose runtime is of another distribution, unless containerd.configDir is set.",
        ),
        {"k8sDistribution": "k8s"},
    ),
    (
        (
            "configDir: host directory with containerd's configuration. runtimeSocket: its socket's URI, whose",
            "directory is mounted.",
            "configFileName: name of the configuration file. userDropIn: TOML that containerd loads after what the",
            "installer writes.",
        ),
        {"containerd": {"configDir": "", "runtimeSocket": "", "configFileName": "", "userDropIn": ""}},
    ),
    (
        (
            "Nodes to install on, in both modes; taints that the installer tolerates; taints it takes off once a node is ready.",
            "In job mode required node affinity counts, without matchFields, Gt and Lt.",
        ),
        {"nodeSelector": {}, "tolerations": [], "startupTaints": [], "affinity": {}},
    ),
    (
        ("Of the DaemonSet and its pods. The label name and the checksums cannot be overridden.",),
        {
            "podLabels": {},
            "podAnnotations": {},
            "priorityClassName": "system-node-critical",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "resources": {"requests": {"cpu": "25m", "memory": "16Mi"}},
        },
    ),
    (
        (
            "debug: log much, and one kata-<shim>-debug class per shim whose guests can be looked into. Custom",
            "runtimes do not get their",
            "base's debug settings. devkit: with debug, one kata-<shim>-devkit class per shim, with tools in the guest.",
            "logLevel: error, warn, info, debug or trace; empty: debug with debug, info without.",
            "events: in daemonset mode, report a failed install as an event of its node too.",
        ),
        {"debug": False, "devkit": False, "logLevel": "", "events": False},
    ),
    (
        (
            "The health server and its probes, each of which can be switched off. The start-up budget is failureThreshold times",
            "periodSeconds: 10 minutes.",
        ),
        {
            "health": {
                "port": 8090,
                "startupProbe": {
                    "enabled": True,
                    "initialDelaySeconds": 1,
                    "periodSeconds": 10,
                    "failureThreshold": 60,
                    "timeoutSeconds": 3,
                },
                "livenessProbe": {"enabled": True, **_PROBE, "periodSeconds": 30},
                "readinessProbe": {"enabled": True, **_PROBE},
            }
        },
    ),
    (
        (
            "setup: snapshotters that the installer sets up, nydus and erofs. erofsMergeMode: merged (also when",
            "empty) or unmerged, which",
            "runtimes in Go need. erofsSnapshotterMode: disk (also when empty) or memory. erofsDmverity: check image layers.",
        ),
        {"snapshotter": {"setup": ["nydus"], "erofsMergeMode": "", "erofsSnapshotterMode": "", "erofsDmverity": False}},
    ),
)

_SHIMS: Final = (
    "What is installed where. enabled: true, false, or null to follow disableAll (enabled while that is false).",
    "dropIn: TOML laid",
    "over the shim's configuration. supportedArches and defaultShim use the names amd64, arm64, s390x and ppc64le.",
    "runtimeClass: nodeSelector, overheadEnabled, overhead.memory and overhead.cpu.",
)

_AFTER: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (
        ("Where on the host, and the suffix that tells several installs on one node apart. hostOS is not used.",),
        {"env": {"installationPrefix": "", "hostOS": "", "multiInstallSuffix": ""}},
    ),
    (
        (
            "enabled: install only on nodes that node feature discovery says can virtualize. The chart does not bring",
            "it: it must be in",
            "the cluster before.",
        ),
        {"node-feature-discovery": {"enabled": False}},
    ),
    (
        (
            "create: the rule that counts TEE keys, and requests for them in the classes of TEE shims. auto: when the",
            "cluster knows",
            "the kind NodeFeatureRule.",
        ),
        {"nodeFeatureRules": {"create": "auto"}},
    ),
    (
        (
            "pod: a Pod as YAML text, run after install and upgrade; the release fails when it does. timeout: seconds",
            "it may take;",
            "daemonsetTimeout: seconds that the installer's pods may take before.",
        ),
        {"verification": {"namespace": "default", "timeout": 180, "daemonsetTimeout": 1200, "pod": ""}},
    ),
    (
        (
            "runtimes.<name>: baseConfig (a shim, required), dropIn (TOML), runtimeClass (YAML text; its handler",
            "names the runtime),",
            "inheritBaseOverhead, containerd.snapshotter, crio.pullType. A class without overhead has that of its base.",
        ),
        {"customRuntimes": {"enabled": False, "runtimes": {}}},
    ),
)


def full_values(catalog: Catalog) -> dict[str, Any]:
    """Return all values, in the order of the file."""
    merged: dict[str, Any] = {}
    for _, section in (*_BEFORE, ((), chart_values(catalog)), *_AFTER):
        merged.update(section)
    return merged


def render_values(catalog: Catalog, *, note: str) -> str:
    """Return the values as YAML, ``note`` in the first line."""
    sections = (*_BEFORE, (_SHIMS, chart_values(catalog)), *_AFTER)
    return "\n".join([f"# {note}\n", *(render_yaml(section, comment=_wrapped(comment)) for comment, section in sections)])


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Return the words of ``lines`` in lines of an even length; an empty one separates paragraphs."""
    paragraphs = " ".join(line or "\n" for line in lines).split("\n")
    return "\n\n".join(textwrap.fill(paragraph.strip(), 98) for paragraph in paragraphs).split("\n")
