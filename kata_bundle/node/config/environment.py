"""The configuration as environment variables and mounted files, the way the Helm chart gives it (installer specification §2).

Pure: the variables come as a mapping, the mounted files through a :class:`HostView` of the container. Must not know defaults or
which values are allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle.core.arch import Arch
from kata_bundle.node.config import texts
from kata_bundle.node.config.model import DNS_LABEL, UserDropIn
from kata_bundle.node.config.settings import BUILT_IN, Given, Origin, OriginKind, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.node.config.model import AnnotationRule, CustomRuntime, ProxySetting
    from kata_bundle.node.config.problems import Problems
    from kata_bundle.node.hostedit import HostView

__all__ = ["CUSTOM_FOLDER", "CUSTOM_LIST", "drop_in_source", "environment_settings"]

T = TypeVar("T")

CUSTOM_FOLDER: Final = "/custom-configs"
CUSTOM_LIST: Final = f"{CUSTOM_FOLDER}/custom-runtimes.list"


def drop_in_source(name: str) -> str:
    """Return where the user's drop-in for a shim or custom handler is mounted."""
    return f"{CUSTOM_FOLDER}/dropin-{name}.toml"


class _Variables:
    """The environment as one architecture sees it. An empty value counts as unset."""

    def __init__(self, environment: Mapping[str, str], machine: str) -> None:
        self._environment = environment
        self._ending = f"_{machine.upper()}" if machine in set(Arch) else None

    def given(self, name: str, parse: Callable[[str], T]) -> Given[T] | None:
        """Return what ``parse`` makes of variable ``name``, ``None`` when it is unset."""
        text = self._environment.get(name, "")
        return Given(parse(text), self.origin(name)) if text else None

    def trimmed(self, name: str) -> Given[str] | None:
        """Return variable ``name`` without white space around it; blank counts as unset."""
        found = self.given(name, str.strip)
        return found if found is not None and found.value else None

    def of_arch(self, base: str, parse: Callable[[str], T]) -> Given[T] | None:
        """Return the variable for this architecture; the base name itself is never read."""
        return None if self._ending is None else self.given(base + self._ending, parse)

    def name_of_arch(self, base: str) -> str:
        """Return the variable's name on this architecture (the base name on one that has none)."""
        return base + (self._ending or "")

    def is_present(self, base: str) -> bool:
        """Return whether the variable for this architecture exists, empty or not."""
        return self._ending is not None and base + self._ending in self._environment

    @staticmethod
    def origin(name: str) -> Origin:
        """Return the origin that stands for variable ``name``."""
        return Origin(kind=OriginKind.VARIABLE, name=name)


def environment_settings(environment: Mapping[str, str], machine: str, files: HostView, problems: Problems) -> Settings:
    """Return what ``environment`` asks for on ``machine``; ``files`` shows the container's mounted files.

    What is spelled wrongly is added to ``problems``.
    """
    env = _Variables(environment, machine)
    https_proxy = _proxy(env, "AGENT_HTTPS_PROXY", problems)
    no_proxy = _proxy(env, "AGENT_NO_PROXY", problems)
    plain = {"https_proxy": (https_proxy, "AGENT_HTTPS_PROXY"), "no_proxy": (no_proxy, "AGENT_NO_PROXY")}
    return Settings(
        requires_node_name=True,
        for_every_arch=frozenset(key for key, (found, name) in plain.items() if found and found.origin.name == name),
        node_name=env.trimmed("NODE_NAME"),
        daemonset_name=env.trimmed("DAEMONSET_NAME"),
        debug=env.given("DEBUG", texts.is_true),
        devkit=env.given("DEVKIT", _is_exactly_true),
        shims=_shims(env),
        default_shim=env.of_arch("DEFAULT_SHIM", str),
        annotation_rules=_annotations(env, problems),
        snapshotters=env.of_arch("SNAPSHOTTER_HANDLER_MAPPING", texts.parse_mapping),
        pull_types=env.of_arch("PULL_TYPE_MAPPING", texts.parse_mapping),
        forced_guest_pull=env.of_arch("EXPERIMENTAL_FORCE_GUEST_PULL", texts.parse_list),
        https_proxy=https_proxy,
        no_proxy=no_proxy,
        installation_prefix=env.given("INSTALLATION_PREFIX", str),
        suffix=env.trimmed("MULTI_INSTALL_SUFFIX"),
        snapshotter_setup=env.given("EXPERIMENTAL_SETUP_SNAPSHOTTER", texts.parse_list),
        erofs_merge_mode=env.given("EROFS_MERGE_MODE", lambda text: text.strip().lower()),
        erofs_size=env.given("EROFS_SNAPSHOTTER_MODE", str.strip),
        erofs_dmverity=env.given("EROFS_DMVERITY", lambda text: text.strip().lower() == "dmverity"),
        containerd_config_name=env.trimmed("CONTAINERD_CONFIG_FILE_NAME"),
        containerd_user_drop_in=_user_drop_in(env, files),
        custom_runtimes=_custom_runtimes(env, files, problems),
        shim_drop_ins=_shim_drop_ins(files),
        startup_taints=env.given("STARTUP_TAINTS", texts.parse_taints),
        runtime_version=env.trimmed("CONTAINER_RUNTIME_VERSION"),
        distribution=env.trimmed("K8S_DISTRIBUTION"),
        health_port=_health_port(env, problems),
        machine_id=env.trimmed("NODE_MACHINE_ID") or env.trimmed("KATA_DEPLOY_NODE_MACHINE_ID"),
        post_delete_hook=env.given("HELM_POST_DELETE_HOOK", _is_exactly_true),
    )


def _is_exactly_true(text: str) -> bool:
    return text == "true"


def _shims(env: _Variables) -> Given[tuple[str, ...]] | None:
    """Return the shim list. For this variable alone, present but empty means "no standard shims" (D13)."""
    if not env.is_present("SHIMS"):
        return None
    empty: Given[tuple[str, ...]] = Given((), env.origin(env.name_of_arch("SHIMS")))
    return env.of_arch("SHIMS", lambda text: tuple(text.split())) or empty


def _annotations(env: _Variables, problems: Problems) -> Given[tuple[AnnotationRule, ...]] | None:
    base = "ALLOWED_HYPERVISOR_ANNOTATIONS"
    return env.of_arch(base, lambda text: texts.parse_annotations(text, problems, name=env.name_of_arch(base)))


def _proxy(env: _Variables, base: str, problems: Problems) -> Given[ProxySetting] | None:
    """Return a proxy: that of this architecture when it is set, else that of the plain variable (D14)."""
    own = env.of_arch(base, lambda text: texts.parse_proxy(text, problems, name=env.name_of_arch(base)))
    return own or env.given(base, lambda text: texts.parse_proxy(text, problems, name=base))


def _user_drop_in(env: _Variables, files: HostView) -> Given[UserDropIn] | None:
    found = env.trimmed("CONTAINERD_USER_DROP_IN_SOURCE_FILE")
    if found is None:
        return None
    return Given(UserDropIn(source=found.value, data=files.read(found.value)), found.origin)


def _custom_runtimes(env: _Variables, files: HostView, problems: Problems) -> Given[tuple[CustomRuntime, ...]] | None:
    enabled = env.given("CUSTOM_RUNTIMES_ENABLED", _is_exactly_true)
    if enabled is None or not enabled.value:
        return None
    origin = Origin(kind=OriginKind.FILE, name=CUSTOM_LIST)
    try:
        data = files.read(CUSTOM_LIST)
        text = None if data is None else data.decode()
    except (OSError, UnicodeDecodeError) as error:
        problems.warn(f"{CUSTOM_LIST} cannot be read, so there are no custom runtimes: {error}")
        return None
    if text is None:
        problems.warn(f"CUSTOM_RUNTIMES_ENABLED is true, but {CUSTOM_LIST} is not there, so there are no custom runtimes")
        return None

    def drop_in(handler: str) -> bytes | None:
        # Any other handler is refused later; as part of a path it could reach another file.
        return files.read(drop_in_source(handler)) if DNS_LABEL.fullmatch(handler) else None

    return Given(texts.parse_custom_runtimes(text, drop_in, problems, name=CUSTOM_LIST), origin)


def _shim_drop_ins(files: HostView) -> Given[Mapping[str, bytes]] | None:
    """Return every mounted drop-in by the name it is for; which names are shims is not known here."""
    found: dict[str, bytes] = {}
    for name in files.names(CUSTOM_FOLDER):
        if name.startswith("dropin-") and name.endswith(".toml"):
            data = files.read(f"{CUSTOM_FOLDER}/{name}")
            if data is not None:
                found[name.removeprefix("dropin-").removesuffix(".toml")] = data
    return Given(found, Origin(kind=OriginKind.FILE, name=drop_in_source("<shim>"))) if found else None


def _health_port(env: _Variables, problems: Problems) -> Given[int] | None:
    found = env.given("HEALTH_PORT", str)
    if found is None:
        return None
    port, warning = texts.parse_port(found.value)
    if warning is not None:
        problems.warn(warning)
    return Given(port, BUILT_IN if warning is not None else found.origin)
