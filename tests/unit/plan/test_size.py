"""What shims weigh alone, shared and marginally."""

from __future__ import annotations

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.plan.size import LayerSize, Weight, size_report

X, A = Arch.X86_64, Arch.AARCH64


def layer(packed, unpacked=None, *, content=None, real=True):
    weight = Weight(packed_bytes=packed, unpacked_bytes=unpacked if unpacked is not None else 10 * packed)
    return LayerSize(packed=digest_bytes(str(content or packed).encode()), weight=weight, is_real=real)


LAYERS = {(X, "shim"): layer(1), (X, "kernel"): layer(100), (X, "qemu"): layer(30), (X, "clh"): layer(7)}
CELLS = {(X, "qemu"): ("shim", "kernel", "qemu"), (X, "clh"): ("shim", "kernel", "clh")}


def by_shim(report):
    return {(shim.arch, shim.shim): shim for shim in report.shims}


def test_alone_is_shared_plus_marginal():
    report = size_report(CELLS, LAYERS)
    qemu = by_shim(report)[X, "qemu"]
    assert (qemu.alone.packed_bytes, qemu.shared.packed_bytes, qemu.marginal.packed_bytes) == (131, 101, 30)
    assert qemu.alone == qemu.shared + qemu.marginal
    assert qemu.alone.unpacked_bytes == 1310


def test_the_total_counts_each_layer_once_and_separate_payloads_count_it_each_time():
    report = size_report(CELLS, LAYERS)
    assert report.total.packed_bytes == 138
    assert report.separate.packed_bytes == 131 + 108
    assert report.to_dict()["complete"] is True


def test_leaving_a_shim_out_removes_exactly_its_marginal_size():
    whole = size_report(CELLS, LAYERS)
    for key, shim in by_shim(whole).items():
        rest = size_report({cell: row for cell, row in CELLS.items() if cell != key}, LAYERS)
        assert whole.total - rest.total == shim.marginal


def test_a_shim_by_itself_shares_nothing():
    only = size_report({(X, "qemu"): CELLS[X, "qemu"]}, LAYERS).shims[0]
    assert only.shared == Weight()
    assert only.marginal == only.alone


def test_equal_bytes_under_two_names_count_once_and_are_shared():
    layers = {**LAYERS, (X, "kernel-copy"): layer(100)}
    report = size_report({(X, "qemu"): ("kernel",), (X, "clh"): ("kernel-copy", "clh")}, layers)
    assert report.total.packed_bytes == 107
    assert by_shim(report)[X, "qemu"].marginal == Weight()
    assert by_shim(report)[X, "qemu"].shared.packed_bytes == 100


def test_architectures_share_in_totals_but_not_with_each_other_s_shims():
    layers = {(X, "kernel"): layer(5), (A, "kernel"): layer(5), (A, "qemu"): layer(9)}
    report = size_report({(X, "qemu"): ("kernel",), (A, "qemu"): ("kernel", "qemu")}, layers)
    assert report.total.packed_bytes == 14
    # A node has one architecture: nothing of the other's is there to share.
    assert by_shim(report)[X, "qemu"].shared == Weight()


def test_what_nobody_knows_counts_nothing_and_is_named():
    report = size_report(CELLS, {key: value for key, value in LAYERS.items() if key[1] != "kernel"})
    assert report.unknown == ((X, "kernel"),)
    assert by_shim(report)[X, "clh"].unknown == ("kernel",)
    assert by_shim(report)[X, "clh"].alone.packed_bytes == 8
    document = report.to_dict()
    assert document["complete"] is False
    assert [c["weight"] for c in document["components"] if c["component"] == "kernel"] == [None]


def test_components_say_who_needs_them_and_what_is_a_stand_in():
    layers = {**LAYERS, (X, "clh"): layer(7, real=False)}
    components = {c.component: c for c in size_report(CELLS, layers).components}
    assert components["kernel"].needed_by == ("clh", "qemu")
    assert not components["clh"].is_real
    assert components["qemu"].is_real


def test_nothing_weighs_nothing():
    report = size_report({}, {})
    assert report.total == Weight()
    assert report.shims == ()
    assert report.to_dict()["components"] == []


def test_a_component_listed_twice_counts_once():
    report = size_report({(X, "qemu"): ("kernel", "kernel")}, LAYERS)
    assert report.shims[0].alone.packed_bytes == 100
    assert report.components[0].needed_by == ("qemu",)
