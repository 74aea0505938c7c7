"""Where each distribution keeps containerd's configuration, and where our tables go (installer specification §15.1 to §15.4).

``config_dir`` is the distribution's directory as the planner sees it: the pod mounts it at ``/etc/containerd``. Must not know
what is written, only where.
"""

from __future__ import annotations

import posixpath
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.node.cri.imports import imports_of, is_imported, parse_config
from kata_bundle.node.cri.tables import root_version
from kata_bundle.node.cri.versions import at_least, parse_version
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime, is_drop_in_capable, suggested_distribution

if TYPE_CHECKING:
    from kata_bundle.node.hostedit import HostView

__all__ = [
    "CONF_D",
    "Layout",
    "Mode",
    "default_drop_in",
    "drop_in_directory",
    "drop_in_name",
    "has_drop_in_import",
    "host_config_dir",
    "is_split_cri",
    "resolve_layout",
    "template_name",
    "user_drop_in_name",
]

DEFAULT_DIR = "/etc/containerd"
CONF_D = "/etc/containerd/conf.d"
_HOST_DIRS = {
    "k8s": DEFAULT_DIR,
    "k3s": "/var/lib/rancher/k3s/agent/etc/containerd",
    "rke2": "/var/lib/rancher/rke2/agent/etc/containerd",
    "k0s": "/etc/k0s",
    "microk8s": "/var/snap/microk8s/current/args",
}


class Mode(StrEnum):
    """How our tables reach containerd."""

    AUTOLOADED = "autoloaded"
    """A drop-in that the distribution or the existing ``imports`` load."""
    IMPORTED = "imported"
    """A drop-in that we add to ``imports``."""
    WHOLE_FILE = "whole-file"
    """In the administrator's file itself."""


@record
class Layout:
    """Paths for one runtime; ``imports_file`` is ``None`` where ``imports`` are not edited.

    ``rendered_file`` is what k3s and rke2 make of their template: the file containerd really reads.
    """

    config_file: str
    imports_file: str | None
    drop_in_file: str
    user_drop_in_file: str
    use_drop_in: bool
    rendered_file: str | None = None

    @property
    def mode(self) -> Mode:
        """How our tables reach containerd."""
        if not self.use_drop_in:
            return Mode.WHOLE_FILE
        return Mode.AUTOLOADED if self.imports_file is None else Mode.IMPORTED

    @property
    def backup_file(self) -> str:
        """The copy of the configuration from before whole-file edits."""
        return f"{self.config_file}.bak"

    @property
    def created_record(self) -> str:
        """The empty file that says the configuration was made by an install."""
        return f"{self.config_file}.kata-deploy-created"

    @property
    def output_file(self) -> str:
        """The file our tables are in."""
        return self.drop_in_file if self.use_drop_in else self.config_file


def host_config_dir(runtime: Runtime) -> str:
    """Return the directory of the runtime's configuration on the host itself."""
    return _HOST_DIRS[suggested_distribution(runtime)]


def drop_in_name(suffix: str | None) -> str:
    """Return our drop-in's name in a directory that several installs share."""
    return f"kata-deploy-{suffix}.toml" if suffix else "kata-deploy.toml"


def user_drop_in_name(suffix: str | None) -> str:
    """Return the user drop-in's name in a directory that several installs share; it sorts behind ours."""
    return f"zz-kata-deploy-user-{suffix}.toml" if suffix else "zz-kata-deploy-user.toml"


def default_drop_in(dest: str) -> str:
    """Return the drop-in below the install directory, which is one install's own and so needs no suffix."""
    return f"{dest}/containerd/config.d/kata-deploy.toml"


def is_split_cri(rendered: str | None, version: str) -> bool:
    """Return whether k3s or rke2 has a containerd with two CRI plugins: by the rendered file's schema, else by version.

    Raises :class:`RefusedError` when neither says.
    """
    schema = root_version(rendered) if rendered is not None else None
    if schema is not None and schema >= 2:
        return schema >= 3
    try:
        return parse_version(version).major >= 2
    except RefusedError:
        msg = f'neither the rendered configuration nor the version "{version}" says which containerd this is'
        raise RefusedError(Refusal.VERSION_UNKNOWN, msg, hint="start k3s or rke2 once, so that it renders config.toml") from None


def drop_in_directory(*, split_cri: bool) -> str:
    """Return the name of the directory that a k3s or rke2 template imports."""
    return "config-v3.toml.d" if split_cri else "config.toml.d"


def template_name(*, split_cri: bool) -> str:
    """Return the name of the k3s or rke2 template."""
    return "config-v3.toml.tmpl" if split_cri else "config.toml.tmpl"


def has_drop_in_import(rendered: str, *, split_cri: bool, name: str = "kata-deploy.toml") -> bool:
    """Return whether the rendered configuration loads drop-in ``name`` from the directory for its containerd.

    Parses ``imports``, so that a comment does not count; only a file that is no valid TOML is searched as text.
    """
    directory = drop_in_directory(split_cri=split_cri)
    data = parse_config(rendered)
    if data is None:
        return directory in rendered
    for pattern in imports_of(data):
        # The rendered file names the directory as it is on the host, which is not where we see it: its last part has to do.
        folder, names = posixpath.split(posixpath.normpath(pattern))
        if posixpath.basename(folder) == directory and is_imported(f"/{name}", (f"/{names}",), "/config.toml"):
            return True
    return False


def resolve_layout(
    host: HostView,
    *,
    runtime: Runtime,
    version: str,
    dest: str,
    suffix: str | None = None,
    config_dir: str = DEFAULT_DIR,
    config_file_name: str = "config.toml",
) -> Layout:
    """Return where everything goes on this host. Raises :class:`RefusedError` only where the paths themselves cannot be known."""
    shared, user = drop_in_name(suffix), user_drop_in_name(suffix)
    if runtime.is_k0s:
        folder = f"{config_dir}/containerd.d"
        return Layout(
            config_file=f"{config_dir}/containerd.toml",
            imports_file=None,
            drop_in_file=f"{folder}/{shared}",
            user_drop_in_file=f"{folder}/{user}",
            use_drop_in=True,
        )
    if runtime.is_rancher:
        rendered = f"{config_dir}/config.toml"
        content = host.read(rendered)
        split = is_split_cri(None if content is None else content.decode(errors="replace"), version)
        folder = f"{config_dir}/{drop_in_directory(split_cri=split)}"
        return Layout(
            config_file=f"{config_dir}/{template_name(split_cri=split)}",
            imports_file=None,
            drop_in_file=f"{folder}/{shared}",
            user_drop_in_file=f"{folder}/{user}",
            use_drop_in=True,
            rendered_file=rendered,
        )
    name = "containerd-template.toml" if runtime is Runtime.MICROK8S else config_file_name
    config_file = f"{config_dir}/{name}"
    if runtime is Runtime.CONTAINERD and at_least(version, (2, 2)) and _loads_conf_d(host, config_file, shared, user):
        return Layout(
            config_file=config_file,
            imports_file=None,
            drop_in_file=f"{config_dir}/conf.d/{shared}",
            user_drop_in_file=f"{config_dir}/conf.d/{user}",
            use_drop_in=True,
        )
    return Layout(
        config_file=config_file,
        imports_file=config_file,
        drop_in_file=default_drop_in(dest),
        user_drop_in_file=posixpath.join(posixpath.dirname(default_drop_in(dest)), user_drop_in_name(None)),
        use_drop_in=is_drop_in_capable(runtime, version),
    )


def _loads_conf_d(host: HostView, config_file: str, *names: str) -> bool:
    """Return whether the configuration's own ``imports`` load ``names`` from conf.d; a pattern for others does not help."""
    data = parse_config(host.read(config_file))
    on_host = f"{DEFAULT_DIR}/{posixpath.basename(config_file)}"
    return all(is_imported(f"{CONF_D}/{name}", imports_of(data), on_host) for name in names)
