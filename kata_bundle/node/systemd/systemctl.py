"""What the installer asks of systemd, through the ``systemctl`` program: the fallback where no socket can be reached.

Must not know: which units matter.
"""

from __future__ import annotations

from kata_bundle.core import clock, process
from kata_bundle.core.errors import BundleError
from kata_bundle.node.systemd.client import JOB_TIMEOUT_S, START_LIMIT, UnitState
from kata_bundle.node.systemd.errors import SystemdError, SystemdUnavailableError, UnitError
from kata_bundle.node.systemd.wire import unit_name

__all__ = ["SystemctlSystemd"]

_SHORT_S = 60.0
_SHOWN = "LoadState,ActiveState,SubState,ActiveEnterTimestampMonotonic"


class SystemctlSystemd:
    """systemd through ``program``."""

    def __init__(self, program: str = "systemctl", *, job_timeout_s: float = JOB_TIMEOUT_S) -> None:
        self._program = program
        self._job_timeout_s = job_timeout_s

    def unit_state(self, unit: str) -> UnitState:
        """Return the state of ``unit``."""
        name = unit_name(unit)
        text = self._ask("show", f"--property={_SHOWN}", "--", name)
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if "ActiveState" not in values:
            msg = f"systemctl show {name} does not say whether it is active"
            raise SystemdError(msg)
        stamp = values.get("ActiveEnterTimestampMonotonic", "0")
        since_boot_us = int(stamp) if stamp.isdigit() else 0
        # systemctl prints wall times for people only; the monotonic one is exact and on the same clock as ours.
        now_us = round((clock.now() - clock.monotonic()) * 1_000_000)
        return UnitState(
            name=name,
            load_state=values.get("LoadState", ""),
            active_state=values["ActiveState"],
            sub_state=values.get("SubState", ""),
            active_since_us=now_us + since_boot_us if since_boot_us else None,
        )

    def daemon_reload(self) -> None:
        """Reload the unit files."""
        self._do("daemon-reload", timeout_s=_SHORT_S)

    def restart(self, unit: str) -> None:
        """Restart ``unit`` and wait for the job."""
        name = unit_name(unit)
        try:
            self._do("restart", "--", name, timeout_s=self._job_timeout_s)
        except UnitError:
            if self._ask("show", "--property=Result", "--value", "--", name).strip() != START_LIMIT:
                raise
            self._do("reset-failed", "--", name, timeout_s=_SHORT_S)
            self._do("restart", "--", name, timeout_s=self._job_timeout_s)
        if self.unit_state(name).active_state == "failed":
            msg = f"{name} is failed after its restart"
            raise UnitError(msg, hint=f"journalctl -u {name} says why")

    def stop(self, unit: str) -> None:
        """Stop ``unit`` and wait for the job."""
        if self.unit_state(unit).load_state != "not-found":
            self._do("stop", "--", unit_name(unit), timeout_s=self._job_timeout_s)

    def enable(self, unit: str) -> None:
        """Enable ``unit``."""
        self._do("enable", "--quiet", "--", unit_name(unit), timeout_s=_SHORT_S)

    def disable(self, unit: str, *, now: bool = False) -> None:
        """Disable ``unit``; with ``now`` stop it first."""
        if now:
            self.stop(unit)
        self._do("disable", "--quiet", "--", unit_name(unit), timeout_s=_SHORT_S)

    def _ask(self, *arguments: str) -> str:
        status, stdout, stderr = self._run(arguments, _SHORT_S)
        if status:
            msg = f"systemctl cannot ask systemd: {stderr or f'exit status {status}'}"
            raise SystemdUnavailableError(msg)
        return stdout

    def _do(self, *arguments: str, timeout_s: float) -> None:
        status, _, stderr = self._run(arguments, timeout_s)
        if status:
            msg = f"systemctl {' '.join(a for a in arguments if a != '--')} exited with {status}: {stderr}"
            raise UnitError(msg)

    def _run(self, arguments: tuple[str, ...], timeout_s: float) -> tuple[int, str, str]:
        try:
            done = process.run([self._program, "--no-pager", "--no-ask-password", *arguments], timeout_s=timeout_s, check=False)
        except BundleError as error:
            raise SystemdUnavailableError(str(error), retryable=error.retryable) from error
        return done.status, done.text(), done.stderr.decode("utf-8", "replace").strip()
