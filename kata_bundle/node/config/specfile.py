"""The configuration as one TOML or JSON file: the fields of the environment variables, in structured form.

What may differ by architecture stands at the top level for every architecture, or below ``arches.<arch>`` for one, which then
wins. The models here are the border: they are the JSON Schema too. Imports pydantic, so import it only where such a file is read.
Must not know defaults or which values are allowed.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError
from kata_bundle.node.config.model import AnnotationRule, CustomRuntime, ProxySetting, ShimMapping, UserDropIn
from kata_bundle.node.config.settings import Given, Origin, OriginKind, Settings
from kata_bundle.node.config.texts import clean_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.config.problems import Problems

__all__ = ["EVERY_SHIM", "SCHEMA_NAME", "NodeSpec", "file_settings", "render_schema"]

R = TypeVar("R")

SCHEMA_NAME: Final = "node-spec"
EVERY_SHIM: Final = "*"
"""The key that stands for every shim."""

Word = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]
ByShim = dict[Word, Word]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ArchSpec(_Model):
    """What may differ by architecture."""

    shims: list[Word] | None = Field(None, description="Shims to install; absent: the architecture's defaults; empty: none.")
    default_shim: Word | None = Field(None, description="One of the shims; absent: the architecture's default or the first shim.")
    allowed_hypervisor_annotations: dict[Word, list[Word]] | None = Field(
        None, description='Annotations that pods may set, by shim; "*" stands for every shim.'
    )
    snapshotter_handler_mapping: ByShim | None = Field(None, description="containerd snapshotter by shim.")
    pull_type_mapping: ByShim | None = Field(None, description='CRI-O pull type by shim, such as "guest-pull".')
    experimental_force_guest_pull: list[Word] | None = Field(None, description="Shims that always pull images in the guest.")
    agent_https_proxy: ByShim | None = Field(None, description='Proxy of the guest by shim; "*" alone stands for every shim.')
    agent_no_proxy: dict[Word, str] | None = Field(
        None, description='Addresses that the guest reaches without proxy, by shim; "*" alone stands for every shim.'
    )


class CustomRuntimeSpec(_Model):
    """A further handler on top of a shim's configuration."""

    handler: Word = Field(description="Its name: a DNS label that no shim uses.")
    base_config: Word = Field(description="The shim whose configuration and components it uses.")
    containerd_snapshotter: Word | None = None
    crio_pull_type: Word | None = None
    drop_in: str | None = Field(None, description="TOML text laid over the configuration.")


class NodeSpec(ArchSpec):
    """The whole file."""

    version: Literal[1] = Field(description="Version of this format.")
    arches: dict[Literal["x86_64", "aarch64", "s390x", "ppc64le"], ArchSpec] = Field(
        default_factory=dict, description="What differs on one architecture."
    )
    node_name: Word | None = None
    daemonset_name: Word | None = None
    debug: bool | None = None
    devkit: bool | None = Field(None, description="Has an effect together with debug only.")
    installation_prefix: str | None = Field(None, min_length=1, description="Absolute path in front of opt/kata.")
    multi_install_suffix: str | None = Field(None, min_length=1, description="Tells several installs on one node apart.")
    experimental_setup_snapshotter: list[Word] | None = None
    erofs_merge_mode: str | None = None
    erofs_snapshotter_mode: str | None = None
    erofs_dmverity: bool | None = None
    containerd_config_file_name: str | None = Field(None, min_length=1)
    containerd_user_drop_in: str | None = Field(None, description="TOML text of a further containerd drop-in.")
    custom_runtimes: list[CustomRuntimeSpec] | None = None
    shim_drop_ins: dict[Word, str] | None = Field(None, description="TOML text laid over a shim's configuration, by shim.")
    startup_taints: list[Word] | None = None
    container_runtime_version: Word | None = None
    k8s_distribution: Word | None = None
    health_port: int | None = Field(None, ge=1, le=65535)
    node_machine_id: Word | None = None
    helm_post_delete_hook: bool | None = None


class _Spec:
    """A validated file as one architecture sees it."""

    def __init__(self, spec: NodeSpec, name: str, machine: str) -> None:
        self._spec = spec
        self._name = name
        self._machine = machine
        self._own: ArchSpec | None = next((own for arch, own in spec.arches.items() if arch == machine), None)
        self.for_every_arch: set[str] = set()

    def get(self, key: str, make: Callable[[Any], R]) -> Given[R] | None:
        """Return what ``make`` makes of the value at ``key``, ``None`` when it is absent."""
        value = getattr(self._spec, key)
        return None if value is None else Given(make(value), self._origin(key))

    def of_arch(self, key: str, member: str, make: Callable[[Any], R]) -> Given[R] | None:
        """Return the value at ``key`` for this architecture, else that for every architecture; the latter is noted."""
        own = None if self._own is None else getattr(self._own, key)
        if own is not None:
            return Given(make(own), self._origin(f"arches.{self._machine}.{key}"))
        found = self.get(key, make)
        if found is not None:
            self.for_every_arch.add(member)
        return found

    def _origin(self, key: str) -> Origin:
        return Origin(kind=OriginKind.FILE, name=f"{self._name}: {key}")


def file_settings(data: bytes, name: str, machine: str, problems: Problems) -> Settings:
    """Return what the file ``name`` with content ``data`` asks for on ``machine``.

    JSON when the name ends so, TOML otherwise. Everything malformed is added to ``problems``; the settings are then empty.
    """
    spec = _read(data, name, problems)
    if spec is None:
        return Settings()
    it = _Spec(spec, name, machine)

    def proxy(value: dict[str, str]) -> ProxySetting:
        return _proxy(value, problems, name)

    return Settings(
        node_name=it.get("node_name", str),
        daemonset_name=it.get("daemonset_name", str),
        debug=it.get("debug", bool),
        devkit=it.get("devkit", bool),
        shims=it.of_arch("shims", "shims", tuple),
        default_shim=it.of_arch("default_shim", "default_shim", str),
        annotation_rules=it.of_arch("allowed_hypervisor_annotations", "annotation_rules", _rules),
        snapshotters=it.of_arch("snapshotter_handler_mapping", "snapshotters", _mapping),
        pull_types=it.of_arch("pull_type_mapping", "pull_types", _mapping),
        forced_guest_pull=it.of_arch("experimental_force_guest_pull", "forced_guest_pull", _unique),
        https_proxy=it.of_arch("agent_https_proxy", "https_proxy", proxy),
        no_proxy=it.of_arch("agent_no_proxy", "no_proxy", proxy),
        for_every_arch=frozenset(it.for_every_arch),
        installation_prefix=it.get("installation_prefix", str),
        suffix=it.get("multi_install_suffix", str),
        snapshotter_setup=it.get("experimental_setup_snapshotter", _unique),
        erofs_merge_mode=it.get("erofs_merge_mode", str),
        erofs_size=it.get("erofs_snapshotter_mode", str),
        erofs_dmverity=it.get("erofs_dmverity", bool),
        containerd_config_name=it.get("containerd_config_file_name", str),
        containerd_user_drop_in=it.get("containerd_user_drop_in", lambda text: UserDropIn(source=name, data=text.encode())),
        custom_runtimes=it.get("custom_runtimes", _custom_runtimes),
        shim_drop_ins=it.get("shim_drop_ins", lambda drop_ins: {shim: text.encode() for shim, text in drop_ins.items()}),
        startup_taints=it.get("startup_taints", _unique),
        runtime_version=it.get("container_runtime_version", str),
        distribution=it.get("k8s_distribution", str),
        health_port=it.get("health_port", int),
        machine_id=it.get("node_machine_id", str),
        post_delete_hook=it.get("helm_post_delete_hook", bool),
    )


def render_schema() -> str:
    """Return the JSON Schema of the file, as text."""
    schema = NodeSpec.model_json_schema()
    identity = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:kata-bundle:schema:{SCHEMA_NAME}:1"}
    return canonical.dumps_pretty({**identity, **schema})


def _read(data: bytes, name: str, problems: Problems) -> NodeSpec | None:
    try:
        document = canonical.loads(data, what=name) if name.endswith(".json") else tomllib.loads(data.decode())
    except (IntegrityError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.add("bad_file", f"{name} cannot be read: {error}")
        return None
    try:
        return NodeSpec.model_validate(document)
    except ValidationError as error:
        for issue in error.errors(include_url=False, include_input=False):
            place = ".".join(map(str, issue["loc"]))
            problems.add("bad_file", f"{name}: {place}: {issue['msg']}" if place else f"{name}: {issue['msg']}")
        return None


def _unique(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _mapping(values: dict[str, str]) -> ShimMapping:
    return ShimMapping(tuple(values.items()))


def _rules(values: dict[str, list[str]]) -> tuple[AnnotationRule, ...]:
    return tuple(
        AnnotationRule(shim=None if shim == EVERY_SHIM else shim, annotations=_unique(names))
        for shim, names in values.items()
        if names
    )


def _proxy(values: dict[str, str], problems: Problems, name: str) -> ProxySetting:
    cleaned = {shim: clean_proxy(value.strip(), problems, name) for shim, value in values.items() if value.strip()}
    everywhere = cleaned.pop(EVERY_SHIM, None)
    if everywhere is not None and cleaned:
        problems.add("bad_proxy", f'{name}: a proxy for "{EVERY_SHIM}" and for single shims exclude each other')
    return ProxySetting(everywhere=everywhere, per_shim=() if everywhere is not None else tuple(cleaned.items()))


def _custom_runtimes(values: list[CustomRuntimeSpec]) -> tuple[CustomRuntime, ...]:
    return tuple(
        CustomRuntime(
            handler=value.handler,
            base=value.base_config,
            snapshotter=value.containerd_snapshotter,
            pull_type=value.crio_pull_type,
            drop_in=None if value.drop_in is None else value.drop_in.encode(),
        )
        for value in values
    )
