"""The Kubernetes client when the server is slow, busy, restarting or wrong, and where it takes its credentials from."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
import time

import pytest
import yaml

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.node.kube.access import ClusterAccess, in_cluster, load_access, load_kubeconfig
from kata_bundle.node.kube.api import KubeApi
from kata_bundle.node.kube.client import KubeClient
from kata_bundle.node.kube.errors import KubeError, KubeStatusError, KubeUnreachableError
from kata_bundle.node.pause import StopRequestedError
from tests.fixtures.fake_kube import FakeKube, Fault


@pytest.fixture
def fake():
    with FakeKube() as fake:
        fake.add_node("n1")
        yield fake


class Pauses(list):
    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def client(fake: FakeKube, **more) -> KubeClient:
    more.setdefault("pause", Pauses())
    return KubeClient(fake.access(), **more)


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, {"status": 503}, {"status": 504}, {"drop": True}])
def test_a_busy_or_broken_server_is_asked_again(fake, fault):
    fake.faults = [Fault(times=3, **fault)]
    pauses = Pauses()
    with client(fake, pause=pauses) as kube:
        assert KubeApi(kube).node("n1").name == "n1"
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2], "the pauses grow"


def test_the_servers_own_wish_for_a_pause_is_kept(fake):
    fake.faults = [Fault(times=1, status=429, headers={"Retry-After": "7"})]
    pauses = Pauses()
    with client(fake, pause=pauses) as kube:
        KubeApi(kube).node("n1")
    assert pauses == [7.0]


def test_tries_are_bounded(fake):
    fake.faults = [Fault(times=100, status=500)]
    with client(fake, tries=4) as kube, pytest.raises(KubeStatusError, match="500") as caught:
        KubeApi(kube).node("n1")
    assert caught.value.retryable
    assert len(fake.requests) == 4


def test_the_deadline_bounds_the_pauses(fake):
    fake.faults = [Fault(times=100, status=429, headers={"Retry-After": "50"})]
    with client(fake, deadline_s=10) as kube, pytest.raises(KubeStatusError):
        KubeApi(kube).node("n1")
    assert len(fake.requests) == 1


def test_a_slow_answer_is_a_time_out_and_tried_again(fake):
    fake.faults = [Fault(times=1, delay_s=0.6)]
    with client(fake, read_s=0.2) as kube:
        start = time.monotonic()
        assert KubeApi(kube).node("n1").name == "n1"
    assert time.monotonic() - start < 3


def test_a_server_that_restarts_is_waited_for(fake):
    port = fake.server.server_address[1]
    with KubeClient(fake.access()) as kube:
        KubeApi(kube).node("n1")
        fake.stop()
        back = threading.Timer(0.4, fake.start, [port])
        back.start()
        assert KubeApi(kube).node("n1").name == "n1"
        back.join()


def test_nobody_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        access = ClusterAccess(server=f"http://127.0.0.1:{free.getsockname()[1]}")
    with KubeClient(access, tries=2, pause=Pauses()) as kube, pytest.raises(KubeUnreachableError) as caught:
        KubeApi(kube).node("n1")
    assert not caught.value.maybe_done
    assert caught.value.exit_code == 8


@pytest.mark.parametrize("status", [400, 403, 404, 409, 415, 422])
def test_a_refusal_is_not_tried_again(fake, status):
    fake.faults = [Fault(times=1, status=status)]
    with client(fake) as kube, pytest.raises(KubeStatusError) as caught:
        KubeApi(kube).node("n1")
    assert caught.value.status == status
    assert not caught.value.retryable
    assert len(fake.requests) == 1


def test_a_create_that_may_have_happened_is_not_repeated(fake):
    fake.faults = [Fault(times=1, status=500, method="POST"), Fault(times=1, drop=True, after=True, method="POST")]
    document = {"metadata": {"name": "j"}, "spec": {}}
    with client(fake) as kube:
        for kind in (KubeStatusError, KubeUnreachableError):
            with pytest.raises(kind):
                KubeApi(kube).create_job(document)
        assert KubeApi(kube).create_job(document) is None, "the dropped one had been carried out"


def test_a_create_that_was_turned_away_is_repeated(fake):
    fake.faults = [Fault(times=2, status=429, method="POST")]
    with client(fake) as kube:
        assert KubeApi(kube).create_job({"metadata": {"name": "j"}, "spec": {}}) is not None


def test_text_from_a_proxy_is_quoted_not_parsed(fake):
    fake.faults = [Fault(times=1, status=403, text="<html>go away</html>")]
    with client(fake) as kube, pytest.raises(KubeStatusError, match="go away"):
        KubeApi(kube).node("n1")


@pytest.mark.parametrize("text", ["not json", '{"a":1,"a":2}', '"text"', '{"metadata": {"labels": ["x"]}}', '{"metadata": 7}'])
def test_a_nonsense_answer_is_an_error(fake, text):
    fake.faults = [Fault(times=1, status=200, text=text)]
    with client(fake) as kube, pytest.raises(KubeError):
        KubeApi(kube).node("n1")


def test_waiting_ends_when_the_process_is_asked_to_end(fake):
    fake.faults = [Fault(times=9, status=503)]
    with client(fake, pause=lambda _: True) as kube, pytest.raises(StopRequestedError) as caught:
        KubeApi(kube).node("n1")
    assert caught.value.exit_code == 130


def test_long_lists_come_in_pages(fake):
    for number in range(7):
        fake.add_node(f"m{number}", {"pool": "x"})
    fake.page_size_cap = 3
    with client(fake) as kube:
        assert [node.name for node in KubeApi(kube).nodes(label_selector="pool=x")] == [f"m{n}" for n in range(7)]


def test_a_rotated_token_is_read_again(fake, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    fake.tokens = {"first"}
    with KubeClient(fake.access(token_file=str(token)), pause=Pauses()) as kube:
        api = KubeApi(kube)
        api.node("n1")
        fake.tokens = {"second"}
        token.write_text("second\n")
        api.node("n1")
        # Between the server's change and the file's: one more try, then an error.
        fake.tokens = {"third"}
        fake.on_request = lambda *_: token.write_text("third\n")
        api.node("n1")
        fake.on_request = None
        fake.tokens = {"never"}
        with pytest.raises(KubeStatusError) as caught:
            api.node("n1")
        assert caught.value.status == 401


def test_an_error_message_never_holds_the_token(fake):
    fake.tokens = {"right"}
    with KubeClient(fake.access(token="s3cret"), pause=Pauses()) as kube, pytest.raises(KubeStatusError) as caught:
        KubeApi(kube).node("n1")
    assert "s3cret" not in str(caught.value)


def openssl(*arguments: str, cwd) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(
        *new,
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=ca",
        "-addext",
        "keyUsage=critical,keyCertSign,digitalSignature",
        cwd=folder,
    )
    for name in ("server", "client"):
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
            cwd=folder,
        )
        (folder / "ext").write_text("subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        signing = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(*signing, "-out", f"{name}.crt", "-extfile", "ext", cwd=folder)
    return folder


@pytest.fixture
def tls_fake(fake, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True)
    return fake, fake.url.replace("http:", "https:")


def test_the_servers_certificate_is_checked_against_the_clusters_authority(tls_fake, certificates):
    _, url = tls_fake
    ca = (certificates / "ca.crt").read_bytes()
    pair = {
        name: (certificates / f"client.{end}").read_bytes()
        for name, end in (("client_certificate", "crt"), ("client_key", "key"))
    }
    for access in (
        ClusterAccess(server=url, ca=ca),
        ClusterAccess(server=url, ca=ca, **pair),
        ClusterAccess(server=url.replace("127.0.0.1", "localhost"), ca=ca, server_name="kubernetes.default.svc"),
        ClusterAccess(server=url, verify=False),
    ):
        with KubeClient(access, tries=1) as kube:
            assert KubeApi(kube).node("n1").name == "n1"
    for access in (
        ClusterAccess(server=url),
        ClusterAccess(server=url, ca=(certificates / "client.crt").read_bytes()),
        ClusterAccess(server=url.replace("127.0.0.1", "localhost"), ca=ca),
    ):
        with KubeClient(access, tries=1) as kube, pytest.raises(KubeUnreachableError, match="certificate"):
            KubeApi(kube).node("n1")
    with pytest.raises(HostError, match="client certificate"):
        KubeClient(ClusterAccess(server=url, ca=ca, client_certificate=ca, client_key=pair["client_key"]))


def test_a_pod_finds_its_service_account(tmp_path):
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text("CA")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(environment, folder=str(tmp_path))
    assert (access.server, access.namespace, access.ca, access.bearer()) == ("https://[fd00::1]:6443", "default", b"CA", "t")
    (tmp_path / "namespace").write_text("kube-system\n")
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, folder=str(tmp_path)).server == "https://10.0.0.1:443"
    assert in_cluster(environment, folder=str(tmp_path)).namespace == "kube-system"
    (tmp_path / "token").unlink()
    with pytest.raises(HostError, match="token"):
        in_cluster(environment, folder=str(tmp_path))
    with pytest.raises(UsageError):
        in_cluster({}, folder=str(tmp_path))


def kubeconfig(tmp_path, *, user=None, cluster=None, **context):
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", **context}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_a_kubeconfig_gives_server_authority_and_credentials(tmp_path):
    (tmp_path / "ca.pem").write_text("FILE")
    (tmp_path / "tok").write_text("from-file\n")
    data = base64.b64encode(b"DATA").decode()
    access = load_kubeconfig(
        kubeconfig(
            tmp_path,
            namespace="kata",
            user={"token": "t", "client-certificate-data": data, "client-key-data": data},
            cluster={"certificate-authority": "ca.pem", "certificate-authority-data": data, "tls-server-name": "x"},
        )
    )
    assert (access.server, access.namespace, access.ca, access.bearer()) == ("https://10.0.0.1:6443", "kata", b"DATA", "t")
    assert (access.client_certificate, access.server_name, access.verify) == (b"DATA", "x", True)
    access = load_kubeconfig(
        kubeconfig(
            tmp_path, user={"tokenFile": "tok"}, cluster={"certificate-authority": "ca.pem", "insecure-skip-tls-verify": True}
        )
    )
    assert (access.ca, access.bearer(), access.verify) == (b"FILE", "from-file", False)
    assert load_access({"KUBECONFIG": str(tmp_path / "config")}).ca == b"FILE"
    assert load_access({}, kubeconfig=str(tmp_path / "config")).ca == b"FILE"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": {"exec": {"command": "aws"}}}, "plug-in"),
        ({"user": {"token": 7}}, "token is no text"),
        ({"cluster": {"server": ""}}, "server is missing"),
        ({"cluster": {"server": "ftp://x"}}, "no http or https"),
        ({"cluster": {"certificate-authority-data": "%%"}}, "base64"),
        ({"user_name": "other"}, None),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_what_is_wrong(tmp_path, given, said):
    if said is None:
        path = kubeconfig(tmp_path, user={})
        text = (tmp_path / "config").read_text().replace("user: u", "user: nobody")
        (tmp_path / "config").write_text(text)
        said = '"nobody"'
    else:
        path = kubeconfig(tmp_path, **given)
    with pytest.raises(UsageError, match=said):
        load_kubeconfig(path)


def test_what_is_no_kubeconfig_is_an_error(tmp_path):
    for text in ("[1]", "a: [", "x: 1"):
        (tmp_path / "config").write_text(text)
        with pytest.raises(UsageError):
            load_kubeconfig(str(tmp_path / "config"))
    with pytest.raises(HostError):
        load_kubeconfig(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="no Kubernetes API"):
        load_access({})
