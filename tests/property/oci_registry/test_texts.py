"""Whatever a person writes or a server sends as a name, challenge, address or date: a value, or one of our own errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.core.errors import UsageError
from kata_bundle.oci.registry import ProtocolError, Reference, is_reference, parse_place, parse_reference
from kata_bundle.oci.registry.challenge import parse_challenges
from kata_bundle.oci.registry.hosts import Origin
from kata_bundle.oci.registry.locations import next_page, resolve_location, with_query
from kata_bundle.oci.registry.proxies import proxy_for
from kata_bundle.oci.registry.transport import _errors, _retry_after

anything = st.text(max_size=200) | st.text('abcXYZ019.-_/:@[]?#%=,"\\ \t', max_size=120)
HERE = Origin(scheme="https", host="registry.example", port=443)


@given(anything | st.builds("{}/{}:{}".format, anything, anything, anything))
def test_a_reference_is_read_as_it_is_written_or_refused(text):
    try:
        found = parse_reference(text)
    except UsageError:
        return
    assert parse_reference(str(found)) == found
    assert is_reference(text)
    assert not set(f"{found.host}{found.repository}") & set(' \t\r\n?#%"\\')


@given(anything)
def test_a_place_is_a_reference_a_folder_or_refused(text):
    try:
        found = parse_place(text)
    except UsageError:
        return
    assert isinstance(found, Reference) is is_reference(text)


@given(st.lists(anything, max_size=3))
def test_challenges_are_read_without_an_error(values):
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower() != ""


@given(anything | st.builds("{}://{}/{}".format, st.sampled_from(["http", "https", "file", ""]), anything, anything))
def test_an_address_leads_somewhere_sound_or_nowhere(text):
    try:
        origin, path = resolve_location(HERE, "/v2/x/blobs/uploads/1", text, what="x")
    except ProtocolError:
        return
    assert origin.scheme == "https", "never from TLS to none"
    assert path.startswith("/")
    assert not set(path) & set(" \t\r\n")
    assert resolve_location(origin, "/", f"{origin}{path}", what="x")[0] == origin
    assert with_query(path, "digest", "sha256:1").endswith("digest=sha256%3A1")


@given(st.lists(anything | st.builds('<{}>; rel="next"'.format, anything), max_size=3))
def test_a_next_page_is_an_address_or_none(links):
    found = next_page(links)
    assert found is None or not set(found) & set('<>" \t\r\n')


@given(anything)
def test_a_pause_is_a_number_of_seconds_that_is_not_negative(text):
    assert _retry_after(text) >= 0


@given(
    st.binary(max_size=200) | st.builds(lambda text: b'{"errors":[{"code":"%s"}]}' % text.encode("utf-8", "replace"), anything)
)
def test_what_a_server_says_is_shown_in_one_short_printable_line(data):
    for text in _errors(data):
        assert len(text) <= 200
        assert text.isprintable()


@given(anything, anything)
def test_proxies_are_understood_or_refused_without_showing_them(proxy, exempt):
    said = ""
    try:
        found = proxy_for(HERE, {"https_proxy": proxy, "no_proxy": exempt})
    except UsageError as error:
        found, said = None, f"{error} {error.hint}"
    assert len(proxy) < 12 or proxy not in said
    assert found is None or found.url.startswith(("http://", "https://"))
