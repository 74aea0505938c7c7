"""Whatever an administrator's configuration looks like, planned edits come out again and keep what was changed since."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import replace
from kata_bundle.node.cri.compose import plan_cri, plan_cri_removal
from kata_bundle.node.cri.model import CriRequest
from kata_bundle.node.hostedit import EditKind, MemoryHost
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.tomledit import remove_keys
from kata_bundle.node.tomltext import same_value
from tests.fixtures.cri_hosts import made_handler
from tests.property.node_cri.test_toml_edits import SETTINGS, documents, valid

CONFIG = "/etc/containerd/config.toml"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> CriRequest:
    names = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    snapshotter = draw(st.sampled_from([None, "nydus", "devmapper"]))
    handlers = tuple(replace(made_handler("qemu", snapshotter=snapshotter), name=name) for name in names)
    return CriRequest(
        runtime=Runtime.CONTAINERD,
        version=draw(st.sampled_from(["containerd://1.7.24", "containerd://2.1.9"])),
        dest="/opt/kata",
        handlers=handlers,
        debug=draw(st.booleans()),
        snapshotters=("nydus",) if snapshotter == "nydus" else (),
    )


def planned(text: str, request: CriRequest) -> tuple[MemoryHost, dict[str, bytes | None], tuple[str, ...]] | None:
    """Return the host, the new contents, and the owned keys of the administrator's file; ``None`` when the plan was refused."""
    version = 2 if request.version < "containerd://2" else 3
    document = f"version = {version}\n" + text
    if valid(document) is None or "version" in (valid(text) or {}):
        return None
    host = MemoryHost({CONFIG: document.encode(), "/etc/containerd/keep": b""})
    try:
        plan = plan_cri(host, request)
    except HostError:
        return None
    keys = next(edit.keys for edit in plan.edits if edit.kind is EditKind.KEYS)
    return host, {edit.path: edit.after for edit in plan.edits}, keys


@SETTINGS
@given(documents(), requests())
def test_taking_our_keys_out_gives_the_administrators_data_back(text: str, request_: CriRequest) -> None:
    found = planned(text, request_)
    if found is None:
        return
    host, after, keys = found
    before = host.files[CONFIG]
    edited = after[CONFIG]
    assert edited is not None
    assert tomllib.loads(edited.decode())
    undone = remove_keys(edited, keys)
    assert same_value(tomllib.loads(undone.decode()), tomllib.loads(before.decode()))
    line = b"\r\n" if b"\r\n" in before else b"\n"
    if "{" not in text:
        assert undone in {before, before + line}
    later = edited + (b"" if edited.endswith(b"\n") else line) + b"# later" + line
    assert remove_keys(later, keys).rstrip().endswith(b"# later")


@SETTINGS
@given(documents(), requests())
def test_planning_on_the_result_plans_the_result(text: str, request_: CriRequest) -> None:
    found = planned(text, request_)
    if found is None:
        return
    host, after, _ = found
    installed = {path: content for path, content in {**host.files, **after}.items() if content is not None}
    again = plan_cri(MemoryHost(installed), request_)
    for edit in again.edits:
        assert edit.after is not None
        assert same_value(tomllib.loads(edit.after.decode()), tomllib.loads(installed[edit.path].decode()))


@SETTINGS
@given(documents(), requests())
def test_removal_without_a_receipt_gives_the_administrators_data_back(text: str, request_: CriRequest) -> None:
    found = planned(text, request_)
    if found is None:
        return
    host, after, _ = found
    installed = {path: content for path, content in {**host.files, **after}.items() if content is not None}
    left = dict(installed)
    for edit in plan_cri_removal(MemoryHost(installed), request_).edits:
        if edit.after is None:
            left.pop(edit.path, None)
        else:
            left[edit.path] = edit.after
    assert set(left) <= set(host.files) | {f"{CONFIG}.bak"}
    if f"{CONFIG}.bak" not in left:
        assert same_value(tomllib.loads(left[CONFIG].decode()), tomllib.loads(host.files[CONFIG].decode()))
