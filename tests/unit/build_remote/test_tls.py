"""TLS to a fake server: the authority has to be known, the token is sent."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

from kata_bundle.build.remote.errors import ServerError
from kata_bundle.build.remote.reapi import ReapiCache
from kata_bundle.build.remote.settings import parse_server
from tests.support.reapi_server import FakeServer
from tests.unit.build_remote.conftest import QUICK


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt-get install openssl)")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "crt"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder


def test_a_known_authority_and_no_other(certificate, store, action, encoded):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "crt", certificate / "key")
    context.set_alpn_protocols(["h2"])
    with FakeServer(context) as server:
        known = ReapiCache(parse_server(server.url, token="secret", ca_file=certificate / "crt", limits=QUICK))
        assert known.find(store, action, encoded) is None
        assert server.tokens == {"Bearer secret"}
        server.tokens.clear()
        with pytest.raises(ServerError) as caught:
            ReapiCache(parse_server(server.url, token="secret", limits=QUICK)).find(store, action, encoded)
        assert "--remote-ca" in caught.value.hint
        assert not server.tokens
