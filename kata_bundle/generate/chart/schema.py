"""``values.schema.json`` of the whole chart: the catalog's part, and the parts about the installer.

JSON Schema draft 7. A misspelt value name is refused everywhere but in objects that are Kubernetes' own or another chart's.
Must not know: templates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.generate.chartschema import chart_schema
from kata_bundle.generate.runtimeclasses import SUFFIX_PATTERN

if TYPE_CHECKING:
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["full_schema"]

_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_LEVEL: Final = {"enum": ["", "error", "warn", "info", "debug", "trace"]}
_FOREIGN: Final = {"type": ["object", "null"]}
"""An object whose shape Kubernetes decides."""
_FOREIGN_LIST: Final = {"type": ["array", "null"], "items": {"type": "object"}}
_LABELS: Final = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}}
_ABSOLUTE: Final = {"type": "string", "pattern": "^(/.*)?$"}


def full_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of all values, defaults and whatever an operator lays over them."""
    part = chart_schema(catalog)
    shims = [shim.name for shim in catalog.active_shims()]
    properties = {
        **part["properties"],
        "deploymentMode": {"enum": ["daemonset", "job"]},
        "job": _job(),
        "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "imagePullSecrets": _FOREIGN_LIST,
        "image": _image(),
        "bundle": {"type": "string", "pattern": "^([^\\s@]+/[^\\s@]+@sha256:[0-9a-f]{64})?$"},
        "bundleCredentials": {"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"},
        "kubectlImage": _image(),
        "monitor": _object(
            enabled=_FLAG,
            image=_image(),
            listenAddress=_TEXT,
            runtimeEndpoint=_TEXT,
            logLevel=_LEVEL,
            port=_PORT,
            securityContext=_FOREIGN,
            resources=_FOREIGN,
        ),
        "k8sDistribution": {"enum": ["k8s", "k3s", "rke2", "k0s", "microk8s"]},
        "containerd": _object(
            configDir=_ABSOLUTE,
            runtimeSocket={"type": "string", "pattern": "^((unix://)?/.*)?$"},
            configFileName={"type": "string", "pattern": "^[^/]*$", "not": {"enum": [".", ".."]}},
            userDropIn=_TEXT,
        ),
        "nodeSelector": _LABELS,
        "tolerations": _FOREIGN_LIST,
        "startupTaints": {"type": "array", "items": {"type": "string", "pattern": "^[^,\\s]+$"}},
        "affinity": _FOREIGN,
        "podLabels": _LABELS,
        "podAnnotations": _LABELS,
        "priorityClassName": _TEXT,
        "updateStrategy": _FOREIGN,
        "resources": _FOREIGN,
        "debug": _FLAG,
        "devkit": _FLAG,
        "logLevel": _LEVEL,
        "events": _FLAG,
        "health": _object(port=_PORT, startupProbe=_probe(), livenessProbe=_probe(), readinessProbe=_probe()),
        "snapshotter": _object(
            setup={"type": ["array", "null"], "items": {"enum": ["nydus", "erofs"]}, "uniqueItems": True},
            erofsMergeMode={"enum": ["", "merged", "unmerged"]},
            erofsSnapshotterMode={"enum": ["", "disk", "memory"]},
            erofsDmverity=_FLAG,
        ),
        "env": _object(
            installationPrefix=_ABSOLUTE,
            hostOS=_TEXT,
            multiInstallSuffix={"type": "string", "pattern": f"^({SUFFIX_PATTERN})?$"},
        ),
        # Whatever else is set there is for a chart that this one does not bring.
        "node-feature-discovery": {"type": "object", "properties": {"enabled": _FLAG}},
        "nodeFeatureRules": _object(create={"enum": ["auto", True, False, "true", "false"]}),
        "verification": _object(namespace=_TEXT, timeout=_COUNT, daemonsetTimeout=_COUNT, pod=_TEXT),
        "customRuntimes": _object(
            enabled=_FLAG,
            runtimes={"type": ["object", "null"], "additionalProperties": _custom_runtime(shims)},
        ),
        "global": {"type": "object"},
    }
    return {
        **part,
        "title": "Values of the Kata Containers installer",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": False,
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _image() -> dict[str, Any]:
    return _object(reference=_TEXT, tag=_TEXT)


def _probe() -> dict[str, Any]:
    names = (
        "initialDelaySeconds",
        "periodSeconds",
        "failureThreshold",
        "timeoutSeconds",
        "successThreshold",
        "terminationGracePeriodSeconds",
    )
    return _object(enabled=_FLAG, **dict.fromkeys(names, _COUNT))


def _job() -> dict[str, Any]:
    return _object(
        dispatcherImage=_image(),
        dispatcherNodeSelector=_LABELS,
        dispatcherTolerations=_FOREIGN_LIST,
        parallelism={"type": "integer", "minimum": 1, "maximum": 1000},
        nodes=_TEXTS,
        waitForNodesSeconds=_COUNT,
        nodeSettleSeconds=_COUNT,
        waitNodeReadySeconds=_COUNT,
        cleanup=_object(nodes=_TEXTS, nodeSelector=_LABELS, nodeAffinity=_FOREIGN),
        ttlSecondsAfterFinished={"type": "integer", "minimum": 60},
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        backoffLimit=_COUNT,
    )


def _custom_runtime(shims: list[str]) -> dict[str, Any]:
    return {
        **_object(
            baseConfig={"enum": shims},
            dropIn=_TEXT,
            runtimeClass=_TEXT,
            inheritBaseOverhead=_FLAG,
            containerd=_object(snapshotter=_TEXT),
            crio=_object(pullType={"enum": ["", "guest-pull", "default"]}),
        ),
        "required": ["baseConfig"],
    }
