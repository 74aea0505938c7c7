"""Whatever bundles go on a medium, in whatever order, come back as they were."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.core.arch import Arch
from kata_bundle.oci import open_bundle, verify_layout
from tests.fixtures.cli import call_cli
from tests.support.deltabundles import bundle_of
from tests.support.deltas import noise

SEEDS = st.integers(0, 3)
CONTENTS = st.builds(
    lambda seed, size, at, news: noise(size, seed)[:at] + news + noise(size, seed)[at:],
    SEEDS,
    st.sampled_from([0, 10, 5000, 120_000]),
    st.integers(0, 120_000),
    st.binary(max_size=30),
)
FILES = st.dictionaries(
    st.sampled_from(["bin/a", "share/a-1.image", "share/a-2.image", "etc/x"]), CONTENTS, min_size=1, max_size=3
)
BUNDLES = st.dictionaries(
    st.sampled_from([Arch.X86_64, Arch.AARCH64]),
    st.dictionaries(st.sampled_from(["rootfs-image", "rootfs-image-confidential", "qemu"]), FILES, min_size=1, max_size=3),
    min_size=1,
    max_size=2,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(BUNDLES, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_bundles_come_back_from_a_medium(bundles: list[dict], is_appended: bool, keeps_first: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digests = {f"r{i}": bundle_of(folder / f"r{i}", arches) for i, arches in enumerate(bundles)}
        sources = [f"{release}={folder / release}" for release in digests]
        more = ("--full", "r0") if keeps_first else ()
        if is_appended:
            for i, source in enumerate(sources):
                call_cli("media", "export", source, "-o", folder / "medium", *(more if not i else ()), "-q").ok()
        else:
            call_cli("media", "export", *sources, "-o", folder / "medium", *more, "-q").ok()
        call_cli("media", "verify", folder / "medium", "--deep", "-q").ok()
        for release, digest in digests.items():
            call_cli("media", "import", folder / "medium", "-o", folder / "out" / release, "--release", release, "-q").ok()
            assert verify_layout(folder / "out" / release) == []
            assert open_bundle(folder / "out" / release).digest == digest
