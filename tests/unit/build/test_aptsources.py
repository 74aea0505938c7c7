"""Finding the machine's Debian archive in whatever style its sources are written."""

from __future__ import annotations

import pytest

from kata_bundle.build.aptsources import debian_source
from kata_bundle.core.errors import HostError

DEB822 = """\
# made by the installer
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
VENDOR = "Types: deb\nURIs: https://vendor.example/apt\nSuites: stable\nComponents: main\nSigned-By: /v.gpg\n"


def test_the_deb822_style():
    found = debian_source({"debian.sources": DEB822})
    assert found.render("trixie") == (
        "Types: deb\nURIs: http://mirror.example/debian/\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_a_machine_that_runs_the_suite_already():
    found = debian_source({"debian.sources": DEB822.replace("bookworm", "trixie")})
    assert found.uris == "http://mirror.example/debian/"


@pytest.mark.parametrize(
    ("line", "signed_by"),
    [
        ("deb http://mirror.example/debian bookworm main contrib", None),
        ("deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian stable main", "/k.gpg"),
        ("deb\t[ signed-by=/k.gpg,/l.gpg ]\thttp://mirror.example/debian\tsid\tmain # comment", "/k.gpg /l.gpg"),
    ],
)
def test_the_one_line_style(line, signed_by):
    text = f"# deb http://old.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\n{line}\n"
    found = debian_source({"sources.list": text})
    assert (found.uris, found.signed_by) == ("http://mirror.example/debian", signed_by)


def test_a_source_without_keys_gets_the_machines_debian_keyring():
    files = {"sources.list": "deb http://mirror.example/debian bookworm main"}
    assert debian_source(files, keyrings=["/a.gpg", "/b.gpg"]).signed_by == "/a.gpg"
    assert "Signed-By" not in debian_source(files).render("trixie")


def test_an_inline_key_is_kept_whole():
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\nSigned-By:{key}\n"
    assert debian_source({"x.sources": text}).render("trixie").endswith(f"Signed-By: {key}\n")


def test_trust_without_keys_is_kept_as_the_machine_has_it():
    found = debian_source({"sources.list": "deb [trusted=yes] file:/srv/debian trixie main"}, keyrings=["/a.gpg"])
    assert found.render("trixie").endswith("Trusted: yes\n")
    assert not debian_source({"x.sources": DEB822}).is_trusted


def test_debian_is_told_from_vendors_that_borrow_its_suite_names():
    found = debian_source({"a-vendor.sources": VENDOR, "z-debian.sources": DEB822})
    assert found.uris == "http://mirror.example/debian/"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"ubuntu.sources": DEB822.replace("bookworm", "noble")},
        {"x.sources": "Types: deb\nURIs: http://m.example/debian-security\nSuites: bookworm-security\nComponents: main\n"},
        {"x.sources": "Enabled: no\n" + VENDOR},
        {"x.sources": VENDOR.replace("main", "stable")},
        {"x.sources": VENDOR.replace("Types: deb\n", "Types: deb-src\n")},
        {"x.list": "deb http://m.example/debian bookworm"},
        {"x.list": "deb http://m.example/debian bookworm-pgdg main"},
    ],
)
def test_no_debian_archive_is_an_error_of_the_host(files):
    with pytest.raises(HostError, match="no Debian archive"):
        debian_source(files)
