"""The host check: everything that would keep an install from working, found before anything is written.

Source: installer specification §20.

Pure: facts in, problems and warnings out, all of them at once, each saying what to do. Must not know: how facts are gathered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record, replace
from kata_bundle.node.config.checks import snapshotter_mapping_problems
from kata_bundle.node.config.problems import Problem
from kata_bundle.node.cri.checks import check_root
from kata_bundle.node.cri.containerd import layout_of, read_schema
from kata_bundle.node.cri.versions import check_erofs_version, check_snapshotter_mapping_version
from kata_bundle.node.hostcheck.kernel import Feature, has_feature
from kata_bundle.node.hostcheck.programs import MKFS_EROFS, missing_options
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime, check_declared, detect_name, is_drop_in_capable
from kata_bundle.node.snapshotters import EROFS, check_snapshotters
from kata_bundle.node.snapshotters.erofs import check_go_shims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.cri.model import CriRequest
    from kata_bundle.node.hostcheck.kernel import KernelFacts
    from kata_bundle.node.hostcheck.space import SpaceFacts
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.runtime import Evidence

__all__ = ["HostCheckError", "HostFacts", "HostReport", "check_host"]

_ERASE_HINT = "take erofs out of EXPERIMENTAL_SETUP_SNAPSHOTTER and the snapshotter mapping"
_INODES = 10_000


@record
class HostFacts:
    """What is known of the host.

    ``mkfs_erofs`` is the path and content of the host's program, ``None`` without one. ``needed_bytes`` is what the install will
    write at most. ``missing_archives`` are the components that the configured shims need and the payload lacks, each with the
    path that was looked at (D3). ``kubelet_warning`` is what was said about the kubelet's time-out; ``None`` when it is fine, was
    not asked, or is nobody's business (staged mode).
    """

    evidence: Evidence
    host: HostView
    kernel: KernelFacts
    mkfs_erofs: tuple[str, bytes] | None = None
    space: SpaceFacts | None = None
    needed_bytes: int = 0
    missing_archives: tuple[tuple[str, str], ...] = ()
    shims_without_row: tuple[str, ...] = ()
    kubelet_warning: str | None = None


class HostCheckError(HostError):
    """The host does not meet the preconditions in ``problems``; nothing was changed."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        if len(problems) == 1:
            message = problems[0].message
        else:
            message = f"the host does not meet {len(problems)} preconditions:" + "".join(f"\n  - {p.message}" for p in problems)
        super().__init__(message, hint="; ".join(hints) or None)


@record
class HostReport:
    """The answer. ``runtime`` is the detected container runtime, ``None`` when it could not be told or is not supported."""

    runtime: Runtime | None
    version: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def raise_if_any(self) -> None:
        """Raise :class:`HostCheckError` with every problem."""
        if self.problems:
            raise HostCheckError(self.problems)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "runtime": None if self.runtime is None else self.runtime.value,
            "version": self.version,
            "problems": [{"kind": str(p.kind), "message": p.message, "hint": p.hint} for p in self.problems],
            "warnings": list(self.warnings),
        }


@record(kw_only=False, frozen=False)
class _Findings:
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, kind: str, message: str, hint: str | None = None) -> None:
        problem = Problem(kind=kind, message=message, hint=hint)
        # Two rules may find the same thing; told once, it is enough.
        if all(found.kind != kind or found.message != message for found in self.problems):
            self.problems.append(problem)

    def attempt(self, check: Callable[[], Iterable[str] | None]) -> None:
        """Run one rule; its refusal becomes a problem, what it returns warnings."""
        try:
            self.warnings += check() or ()
        except RefusedError as error:
            self.add(error.kind, str(error), error.hint)
        except HostError as error:
            self.add("host", str(error), error.hint)


def check_host(config: NodeConfig, facts: HostFacts, request_for: Callable[[Runtime, str], CriRequest]) -> HostReport:
    """Return every problem that ``config`` would have on the host.

    ``request_for`` gives what will be asked of the runtime's configuration, for a detected runtime and its version string.
    """
    findings = _Findings()
    runtime = _runtime(config, facts, findings)
    version = facts.evidence.version
    _payload(facts, findings)
    _space(facts, findings)
    if runtime is not None and version is not None:
        if runtime.is_containerd:
            _containerd(config, facts, findings, request_for, runtime)
        elif config.snapshotter_setup:
            names = ", ".join(name for name in config.snapshotter_setup if name)
            findings.warnings.append(f"CRI-O has no snapshotters; {names} will not be set up")
    if facts.kubelet_warning and (config.uses_guest_pull or _uses_erofs(config)):
        findings.warnings.append(facts.kubelet_warning)
    return HostReport(
        runtime=runtime, version=version, problems=tuple(findings.problems), warnings=tuple(dict.fromkeys(findings.warnings))
    )


def _runtime(config: NodeConfig, facts: HostFacts, findings: _Findings) -> Runtime | None:
    try:
        name = detect_name(facts.evidence)
    except RefusedError as error:
        findings.add(error.kind, str(error), error.hint)
        if facts.evidence.version is None:
            # Whatever the version: is the rest of the evidence there?
            findings.attempt(lambda: _only_refusals(replace(facts.evidence, version="containerd")))
        return None
    findings.attempt(lambda: check_declared(config.distribution, name))
    try:
        return Runtime(name)
    except ValueError:
        hint = f"supported are {', '.join(Runtime)}"
        findings.add(Refusal.UNSUPPORTED_RUNTIME, f'container runtime "{name}" is not supported', hint)
        return None


def _only_refusals(evidence: Evidence) -> None:
    detect_name(evidence)


def _containerd(
    config: NodeConfig,
    facts: HostFacts,
    findings: _Findings,
    request_for: Callable[[Runtime, str], CriRequest],
    runtime: Runtime,
) -> None:
    version = facts.evidence.version or ""
    try:
        request = request_for(runtime, version)
    except RefusedError as error:
        findings.add(error.kind, str(error), error.hint)
        return
    mapped = [handler.snapshotter for handler in request.handlers if handler.snapshotter]
    findings.attempt(lambda: check_snapshotter_mapping_version(version, has_mapping=bool(config.snapshotters) or bool(mapped)))
    for problem in snapshotter_mapping_problems(config.snapshotters, config.shims):
        findings.add(problem.kind, problem.message, problem.hint)
    for name in config.snapshotter_setup:
        findings.attempt(lambda name=name: check_snapshotters([name]))  # type: ignore[misc]
    findings.attempt(lambda: check_go_shims(request.handlers, request.erofs.merge_mode))
    if _uses_erofs(config) or EROFS in mapped:
        findings.attempt(lambda: check_erofs_version(version))
        _erofs(config, facts, findings)
    capable = is_drop_in_capable(runtime.value, version)
    if config.suffix and not capable:
        findings.add(
            Refusal.NO_DROP_IN_SUPPORT,
            f'install "{config.suffix}" beside another needs containerd 2.0 or newer, the node has "{version}"',
            "leave MULTI_INSTALL_SUFFIX empty, or upgrade containerd",
        )
    if request.user_drop_in is not None and not capable:
        findings.add(
            Refusal.NO_DROP_IN_SUPPORT,
            f'a drop-in of your own needs containerd 2.0 or newer, the node has "{version}"',
            "leave CONTAINERD_USER_DROP_IN_SOURCE_FILE empty, or upgrade containerd",
        )
    findings.attempt(lambda: _root_configuration(facts.host, request))


def _root_configuration(host: HostView, request: CriRequest) -> Sequence[str]:
    """Check what the runtime loads today, imports included (D25)."""
    layout = layout_of(host, request)
    schema, _ = read_schema(host, request, layout)
    return check_root(host, request, layout, schema)


def _uses_erofs(config: NodeConfig) -> bool:
    words = [value for _, value in config.snapshotters.pairs] + [custom.snapshotter for custom in config.custom_runtimes]
    return EROFS in config.snapshotter_setup or EROFS in words


def _erofs(config: NodeConfig, facts: HostFacts, findings: _Findings) -> None:
    needed = [Feature.EROFS, *([Feature.DEVICE_MAPPER, Feature.DM_VERITY] if config.erofs_dmverity else [])]
    for feature in needed:
        if not has_feature(feature, facts.kernel):
            why = " for EROFS_DMVERITY" if feature is not Feature.EROFS else ""
            findings.add(
                "kernel_feature_missing",
                f"the erofs snapshotter needs {feature.title} in the kernel{why}, and {facts.kernel.release or 'this one'} has"
                f" neither module {feature.module} nor {feature.symbol}=y",
                f"load it (modprobe {feature.module}), use a kernel that has it, or {_ERASE_HINT}",
            )
    hint = f"install erofs-utils 1.8.2 or newer on the host, or {_ERASE_HINT}"
    if facts.mkfs_erofs is None:
        findings.add("mkfs_erofs_missing", f"the erofs snapshotter needs the program {MKFS_EROFS} on the host", hint)
    elif missing := missing_options(facts.mkfs_erofs[1]):
        listed = ", ".join(f"--{option}" for option in missing)
        findings.add("mkfs_erofs_too_old", f"{facts.mkfs_erofs[0]} does not know {listed}", hint)
    if has_feature(Feature.FS_VERITY, facts.kernel):
        findings.warnings.append(
            "the erofs snapshotter uses fs-verity; whether the file system below containerd has it is not checked"
        )
    else:
        findings.warnings.append(
            f"the erofs snapshotter uses fs-verity, which {facts.kernel.release or 'this kernel'} does not show"
        )


def _payload(facts: HostFacts, findings: _Findings) -> None:
    for shim in facts.shims_without_row:
        findings.warnings.append(f'shim "{shim}" has no components for this architecture and will not be installed')
    for component, path in facts.missing_archives:
        findings.add(
            "archive_missing",
            f'the payload lacks component "{component}": {path} does not exist',
            "use an installer image that was made for these shims",
        )


def _space(facts: HostFacts, findings: _Findings) -> None:
    space = facts.space
    if space is None:
        return
    if not space.is_directory:
        findings.add(
            "dest_not_a_directory",
            f"{space.existing} is no directory, so {space.dest} cannot be made",
            f"remove {space.existing}",
        )
        return
    if space.is_read_only:
        hint = f"mount the host's {space.dest} into the installer's container, writable"
        findings.add("dest_not_writable", f"{space.existing} cannot be written", hint)
        return
    if space.free_bytes < facts.needed_bytes:
        findings.add(
            "no_space",
            f"{space.existing} has {_mib(space.free_bytes)} free, the install needs up to {_mib(facts.needed_bytes)}",
            "make room, or configure fewer shims",
        )
    if space.free_inodes is not None and space.free_inodes < _INODES:
        findings.add("no_inodes", f"{space.existing} has room for {space.free_inodes} more files only", "make room")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"
