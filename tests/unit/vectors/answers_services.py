"""Answers about the living node: health, systemd, the Node object, cleanup, actions, the host check, the dispatcher."""

from __future__ import annotations

import socket
import threading
import time

from kata_bundle.core.errors import UsageError
from kata_bundle.node import waiter
from kata_bundle.node.actions import help_text, parse_arguments
from kata_bundle.node.cleanup import OwnDaemonSet, cleanup_steps, decide_cleanup
from kata_bundle.node.config.model import CustomRuntime, NodeConfig
from kata_bundle.node.config.texts import parse_mapping, parse_port
from kata_bundle.node.dispatch.admission import Toleration, admit, check_nothing_eligible, selector_passes
from kata_bundle.node.dispatch.jobs import NodeFacts, job_disposition, job_outcome, with_facts
from kata_bundle.node.dispatch.names import job_name, label_value, sanitize_node
from kata_bundle.node.dispatch.run import Targets
from kata_bundle.node.handlers import INSTANCE_LABEL_PREFIX
from kata_bundle.node.health import HealthState
from kata_bundle.node.hostcheck import Feature, KernelFacts, has_c_string, has_feature
from kata_bundle.node.kube import labels
from kata_bundle.node.kube.errors import KubeError
from kata_bundle.node.kube.objects import Job, Node, Reader, ready_condition, selector_terms
from kata_bundle.node.kube.readiness import dispatcher_verdict, installer_verdict, missing_handlers
from kata_bundle.node.kube.selection import Requirement, selects
from kata_bundle.node.kube.taints import Taint, partition
from kata_bundle.node.kube.window import UnstableLabelsError, hold
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.snapshotters import nydus
from kata_bundle.node.systemd import Connection, SystemdTimeoutError, job_succeeded, unit_name, wire
from tests.unit.vectors.harness import MismatchError, answers, register_errors

register_errors({"timeout": SystemdTimeoutError, "unstable": UnstableLabelsError, "usage": UsageError})


# -- health


@answers("response", area="health")
def response(given):
    answer = waiter.reply(f"GET {given['path']} HTTP/1.1\r".encode(), ready=given["state"] == "ready")
    head, _, body = answer.decode().partition("\r\n\r\n")
    return {"status": int(head.split()[1]), "body_text": body}


@answers("port", area="health")
def port(given):
    return {"value": parse_port(given["env"])[0]}


def transition(state: HealthState, name: str) -> None:
    {"ready": state.set_ready, "installing": state.set_installing}[name]()


@answers("state", area="health")
def state(given):
    found = HealthState()
    for name in given["transitions"]:
        transition(found, name)
    return {"value": found.snapshot().word}


@answers("shared_state", area="health")
def shared_state(given):
    first = HealthState()
    second = first
    first.set_ready()
    return {"change_through_one_handle_seen_by_other": second.snapshot().word == "ready"}


# -- systemd


def signature_of(value) -> str:
    if isinstance(value, bool):
        return "b"
    if isinstance(value, str):
        return "s"
    if isinstance(value, int):
        return "u"
    if isinstance(value, list):
        return "a" + (signature_of(value[0]) if value else "s")
    raise TypeError(value)


def plain(value):
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@answers("unit_name", area="systemd")
def answer_unit_name(given):
    return {"value": unit_name(given["name"])}


@answers("method_call", area="systemd")
def method_call(given):
    arguments = given["arguments"]
    if "(" in given.get("argument_signature", ""):
        arguments = [[tuple(item) for item in argument] for argument in arguments]
    signature = given.get("argument_signature") or "".join(map(signature_of, arguments))
    data = wire.encode_call(
        given["member"], arguments, signature=signature, serial=given["serial"], no_reply=given.get("no_reply", False)
    )
    call = wire.decode(data)
    fields = {"path": call.path, "interface": call.interface, "destination": call.destination, "member": call.member}
    if call.signature:
        fields["signature"] = call.signature
    return {
        "fields": fields,
        "message_type": {"method_call": 1, "method_return": 2, "error": 3, "signal": 4}[call.kind],
        "flags": call.flags,
        "serial": call.serial,
        "body_length": call.body_length,
        "no_signature": not call.signature,
        "round_trip": plain(call.body) == plain(arguments),
    }


def signal_frame(item) -> bytes:
    from jeepney.low_level import Endianness, Header, HeaderFields, MessageType
    from jeepney.low_level import Message as Raw

    body = item.get("body", item.get("arguments", []))
    fields = {
        HeaderFields.path: wire.MANAGER_PATH,
        HeaderFields.interface: item.get("interface", wire.MANAGER_INTERFACE),
        HeaderFields.member: item["member"],
    }
    signature = item.get("signature") or "".join(map(signature_of, body))
    if signature:
        fields[HeaderFields.signature] = signature
    return Raw(Header(Endianness.little, MessageType.signal, 0, 1, -1, 1, fields), tuple(body)).serialise(1)


@answers("wait_signal", area="systemd")
def wait_signal(given):
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours) as connection:
        for item in given["incoming"]:
            theirs.sendall(signal_frame(item))
        return {"body": plain(connection.wait_signal(given["member"], deadline_s=given["deadline_ms"] / 1000))}


@answers("silent_peer", area="systemd")
def silent_peer(given):
    path = str(given["tmp_path"] / "private")
    accepted = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        thread = threading.Thread(target=lambda: accepted.append(server.accept()[0]), daemon=True)
        thread.start()
        start = time.monotonic()
        try:
            Connection.open(path, timeout_s=given["timeout_ms"] / 1000).close()
        finally:
            took_ms = (time.monotonic() - start) * 1000
            thread.join(1)
            for sock in accepted:
                sock.close()
            limit = given.get("within_ms") or 10_000
            if took_ms > limit:
                raise MismatchError(took_ms)
    return {}


@answers("job_result", area="systemd")
def job_result(given):
    return {"ok": job_succeeded(given["result"])}


# -- labels, taints, readiness


@answers("shared_label", area="node_labels")
def shared_label(given):
    return {"value": labels.shared_label_after(given["labels"], given["suffix"]).value}


@answers("json_pointer_token", area="node_labels")
def json_pointer_token(given):
    return {"value": labels.json_pointer_token(given["key"])}


@answers("retry_status", area="node_labels")
def retry_status(given):
    return {"value": labels.is_retryable(given["code"])}


@answers("release", area="node_labels")
def release(given):
    unmarked = given.get("legacy_daemonset_selects_node", False)
    updates = labels.release_updates(given["labels"], given["suffix"], unmarked_install=unmarked)
    return {"all_updates": updates}


@answers("claim", area="node_labels")
def claim(given):
    return {"all_set": labels.claim_updates(given["labels"], given["suffix"])}


@answers("stability_window", area="node_labels")
def stability_window(given):
    seen = iter(given["observations"])

    def observe() -> bool:
        found = next(seen, None)
        if found is None:
            # The vector says nothing more, so the window has to be over: whatever comes now is bad.
            raise KubeError("no further observation")
        if found == "read_error":
            raise KubeError("read error")
        return found == "good"

    applies = []
    try:
        hold(lambda: applies.append(1), observe, pause=lambda _: False)
    except UnstableLabelsError:
        return {"ok": False, "applies": len(applies)}
    return {"ok": True, "applies": len(applies)}


@answers("ready_condition", area="node_labels")
def answer_ready_condition(given):
    found = ready_condition(Reader(given["status"], "status"))
    return {"value": None if found is None else found.status}


@answers("partition", area="taints")
def answer_partition(given):
    retained, removed = partition([Taint(key=key, effect=effect) for key, effect in given["taints"]], given["matchers"])
    return {"retained": [[taint.key, taint.effect] for taint in retained], "removed": list(removed)}


# -- selection and cleanup


@answers("selects", area="daemonset_selection")
def answer_selects(given):
    terms = given["required_terms"]
    affinity = {} if terms is None else {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    found = selects(
        given["node_selector"] or {},
        selector_terms(Reader(affinity, "nodeAffinity")),
        name=given["node"]["name"],
        labels=given["node"]["labels"],
    )
    return {"value": found}


@answers("requirement", area="daemonset_selection")
def answer_requirement(given):
    requirement = Requirement(key="k", operator=given["operator"], values=tuple(given["values"]))
    return {"value": requirement.is_met(given["value"])}


@answers("decision", area="cleanup_decision")
def decision(given):
    if not given["own_daemonset_exists"]:
        own = OwnDaemonSet.ABSENT
    elif given["own_daemonset_deleting"]:
        own = OwnDaemonSet.DELETING
    else:
        own = OwnDaemonSet.HOLDS_NODE if given["own_daemonset_selects_node"] else OwnDaemonSet.ELSEWHERE
    marks = {f"{INSTANCE_LABEL_PREFIX}other-{i}": value for i, value in enumerate(given["other_install_marks"])}
    found = decide_cleanup(own, marks, None)
    return {"decision": found.scope.value, "shared_label": found.shared_label and found.shared_label.value}


@answers("order", area="cleanup_decision")
def order(given):
    return {"steps": [step.value for step in cleanup_steps(Runtime(given["runtime"]))]}


@answers("data_dir_kept", area="cleanup_decision")
def data_dir_kept(given):
    paths = nydus.nydus_paths("/opt/kata", None)
    touched = {edit.path for edit in nydus.host_edits(paths, "containerd.service")}
    calls = [*nydus.before_files(paths), *(call for group in nydus.uninstall_calls(paths, has_unit=True) for call in group)]
    return {"nydus_data_dir_removed": any(paths.data_dir in text for text in [*touched, *(call.unit for call in calls)])}


# -- handlers


@answers("missing", area="runtime_handlers")
def missing(given):
    return {"value": list(missing_handlers(given["expected"], given["served"]))}


@answers("dispatcher_verdict", area="runtime_handlers")
def answer_dispatcher_verdict(given):
    verdict, serving, absent = dispatcher_verdict(given["expected"], given["served"])
    return {"verdict": verdict.value, "serving": list(serving), "missing": list(absent)}


@answers("installer_verdict_at_timeout", area="runtime_handlers")
def installer_verdict_at_timeout(given):
    return {"value": installer_verdict(given["expected"], given["served"]).value}


# -- actions and host check


@answers("action", area="cli")
def action(given):
    try:
        parse_arguments([given["argument"]])
    except UsageError:
        return {"accepted": False}
    return {"accepted": True}


@answers("help_visibility", area="cli")
def help_visibility(given):
    return {"visible": given["argument"] in help_text().split()}


@answers("c_string", area="host_check")
def c_string(given):
    return {"value": has_c_string(bytes.fromhex(given["haystack_hex"]), given["needle"])}


@answers("uses_guest_pull", area="host_check")
def uses_guest_pull(given):
    config = NodeConfig(
        machine="x86_64",
        pull_types=parse_mapping(given["pull_type_mapping"] or ""),
        forced_guest_pull=tuple(given["forced"]),
        custom_runtimes=tuple(
            CustomRuntime(handler=f"h{i}", base="qemu", pull_type=t) for i, t in enumerate(given["custom_pull_types"])
        ),
    )
    return {"value": config.uses_guest_pull}


@answers("kernel_feature", area="host_check")
def kernel_feature(given):
    feature = next(feature for feature in Feature if feature.title == given["feature"])
    facts = KernelFacts(sys_modules=given["sys_modules"], proc_modules=given["proc_modules"], config_lines=given["config_lines"])
    return {"value": has_feature(feature, facts)}


# -- dispatcher


@answers("sanitize_node", area="dispatcher")
def answer_sanitize_node(given):
    return {"value": sanitize_node(given["node"])}


@answers("label_value", area="dispatcher")
def answer_label_value(given):
    value = label_value(given["text"])
    return {"value": value, "differs_from_sanitized": value != sanitize_node(given["text"]), "length": len(value)}


@answers("job_name", area="dispatcher")
def answer_job_name(given):
    return {"value": job_name(given["prefix"], given["node"])}


@answers("job_names_differ", area="dispatcher")
def job_names_differ(given):
    first, second = job_name(*given["a"]), job_name(*given["b"])
    return {"differ": first != second, "longest": max(len(first), len(second))}


@answers("job_outcome", area="dispatcher")
def answer_job_outcome(given):
    return {"value": job_outcome(Job.parse({"metadata": {}, "status": given["status"]})).value}


@answers("selector_passes", area="dispatcher")
def answer_selector_passes(given):
    return {"value": list(selector_passes(given["selectors"]))}


@answers("job_disposition", area="dispatcher")
def answer_job_disposition(given):
    found = job_disposition(
        existing_label=given["existing_owner_label"],
        existing_uid=given["existing_owner_uid"],
        our_label=given["our_label"],
        our_uid=given["our_uid"],
    )
    return {"value": found.value}


def taint(document) -> Taint:
    return Taint(key=document["key"], effect=document["effect"], value=document.get("value"))


def toleration(document) -> Toleration:
    return Toleration.parse(Reader(document, "toleration"))


@answers("tolerates", area="dispatcher")
def tolerates(given):
    return {"value": toleration(given["toleration"]).tolerates(taint(given["taint"]))}


@answers("admission", area="dispatcher")
def admission(given):
    nodes = [Node.parse({"metadata": {"name": name}, "spec": {"taints": taints}}) for name, taints in given["nodes"]]
    admitted, skipped = admit(nodes, [toleration(item) for item in given["tolerations"]])
    return {"admitted": [node.name for node in admitted], "skipped": [node.name for node, _ in skipped]}


@answers("describe_taint", area="dispatcher")
def describe_taint(given):
    return {"value": str(taint(given["taint"]))}


@answers("nothing_eligible", area="dispatcher")
def nothing_eligible(given):
    check_nothing_eligible(given["wait_seconds"], [(name, taint(document)) for name, document in given["skipped"]])
    return {"nodes": []}


@answers("node_facts", area="dispatcher")
def node_facts(given):
    info = {"containerRuntimeVersion": given.get("container_runtime_version"), "machineID": given.get("machine_id")}
    facts = NodeFacts.of(Node.parse({"metadata": {}, "status": {"nodeInfo": info}}))
    return {"container_runtime_version": facts.container_runtime_version, "machine_id": facts.machine_id}


@answers("inject_facts", area="dispatcher")
def inject_facts(given):
    def containers(names):
        return [{"name": name, "env": list(given.get("existing_env", []))} for name in names]

    pod = {"containers": containers(given["containers"]), "initContainers": containers(given["init_containers"])}
    facts = NodeFacts(container_runtime_version=given["container_runtime_version"], machine_id=given["machine_id"])
    after = with_facts(pod, facts)
    added, env = [], {}
    for group in ("containers", "initContainers"):
        for container in after[group]:
            new = {item["name"]: item["value"] for item in container["env"]}
            if len(container["env"]) > len(given.get("existing_env", [])):
                added.append(container["name"])
            env |= new
    return {"env_added_to": added, "env": env, "machine_id_value": env.get("NODE_MACHINE_ID")}


@answers("wait_default", area="dispatcher")
def wait_default(given):
    return {"wait_for_nodes_seconds": int(Targets().wait_s)}
