"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["main"]

_REPORT = Path(__file__).resolve().parent.parent / "docs/benchmarks"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure kata-bundle against its peers.")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="folder of corpora [default: KATA_BUNDLE_BENCH, else in the user's cache]"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus", help="make the corpus, or what of it is out of date")
    corpus.add_argument("kind", nargs="?", choices=("full", "smoke"), default="full")
    corpus.add_argument("--relock", action="store_true", help="choose package versions again from today's mirror")
    commands.add_parser("peers", help="build the serial unpacker, fetch peers that are not installed, show all")
    run = commands.add_parser("run", help="measure")
    kind = run.add_mutually_exclusive_group()
    kind.add_argument("--full", dest="kind", action="store_const", const="full", default="full", help="the real corpus (default)")
    kind.add_argument("--smoke", dest="kind", action="store_const", const="smoke", help="the made-up one, a round each")
    run.add_argument("--only", metavar="NAME[,NAME…]", help="these benchmarks [default: all]")
    run.add_argument("--rounds", type=int, metavar="N", help="rounds [default: 7, smoke: 1]")
    run.add_argument("--patience", type=float, metavar="S", help="wait so long for a quiet machine before each start [5]")
    run.add_argument("--nice", type=int, default=0, metavar="N", help="priority of what is measured, e.g. -5 [0]")
    run.add_argument("-o", "--output", type=Path, metavar="FILE", help="add the results to this file [in the corpus' folder]")
    run.add_argument("--list", action="store_true", help="list the benchmarks")
    report = commands.add_parser("report", help="turn results into the committed report")
    report.add_argument("results", nargs="?", type=Path, metavar="FILE", help="results of a run [default: the last full one]")
    report.add_argument("-o", "--output", type=Path, metavar="DIR", default=_REPORT, help="[default: docs/benchmarks]")
    gate = commands.add_parser("gate", help="fail when a ratio became worse than in the committed report")
    gate.add_argument("results", nargs="?", type=Path, metavar="FILE", help="results of a run [default: the last full one]")
    gate.add_argument(
        "--against", type=Path, metavar="FILE", help="[default: docs/benchmarks/report.json; of a smoke run: smoke.json]"
    )
    gate.add_argument("--sizes-only", action="store_true", help="judge no ratio of times: for runs on a busy machine")
    gate.add_argument("--tolerance", type=float, default=0.15, metavar="X", help="how much worse is too much [0.15]")
    options = parser.parse_args(arguments)
    actions = {"corpus": _corpus, "peers": _peers, "run": _run, "report": _report, "gate": _gate}
    return actions[options.command](options)


def _corpus(options: argparse.Namespace) -> int:
    from bench.corpus import ensure_corpus, relock

    if options.relock:
        relock()
    made = ensure_corpus(options.kind, options.corpus)
    for release, arches in made.shape()["releases"].items():
        for arch, components in arches.items():
            keys = ("bytes", "tarball_bytes", "layer_bytes")
            unpacked, tarballs, layers = (sum(one[key] for one in components.values()) / 1e6 for key in keys)
            print(
                f"{release} {arch}: {len(components)} components, {unpacked:.1f} MB, "
                f"tarballs {tarballs:.1f} MB, layers {layers:.1f} MB"
            )
    print(made.root)
    return 0


def _peers(options: argparse.Namespace) -> int:
    from bench.corpus import default_folder
    from bench.peers import PEERS, fetch_peer, find_peer, serial_unpack, versions

    folder = options.corpus or default_folder()
    (folder / "peers").mkdir(parents=True, exist_ok=True)
    for peer in PEERS:
        if find_peer(peer.program, folder) is None and (reason := fetch_peer(peer, folder)):
            print(f"{peer.program}: {reason}")
    _, reason = serial_unpack(folder, build=True)
    if reason:
        print(f"serial-unpack: {reason}")
    for program, version in versions(folder):
        print(f"{program:22} {version}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from bench.corpus import default_folder
    from bench.runner import BENCHES, run

    if options.list:
        for name, function in BENCHES.items():
            print(f"{name:18} {function.__doc__}")
        return 0
    names = list(BENCHES) if options.only is None else [name.strip() for name in options.only.split(",")]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; python -m bench run --list shows them")
        return 2
    is_smoke = options.kind == "smoke"
    rounds = options.rounds or (1 if is_smoke else 7)
    patience = options.patience if options.patience is not None else (0 if is_smoke else 5)
    output = options.output or (options.corpus or default_folder()) / f"results-{options.kind}.json"
    failed = run(options.kind, names, output, folder=options.corpus, rounds=rounds, patience_s=patience, nice=options.nice)
    print(output)
    if failed:
        print(f"{failed} benchmark(s) failed")
    return 1 if failed else 0


def _results(options: argparse.Namespace) -> Path:
    from bench.corpus import default_folder

    return options.results or (options.corpus or default_folder()) / "results-full.json"


def _report(options: argparse.Namespace) -> int:
    import json
    import shutil

    from bench.report import render_page, render_summary, render_table

    results = _results(options)
    document = json.loads(results.read_text())
    options.output.mkdir(parents=True, exist_ok=True)
    stem = "report" if document["corpus"] == "full" else "smoke"
    if results.resolve() != (options.output / f"{stem}.json").resolve():
        shutil.copyfile(results, options.output / f"{stem}.json")
    print(render_table(document), end="")
    print(options.output / f"{stem}.json")
    if stem == "report":  # the figures of the made-up corpus are for the gate alone
        (options.output / "report.html").write_text(render_page(document))
        (options.output / "README.md").write_text(render_summary(document))
        print(options.output / "report.html")
    return 0


def _gate(options: argparse.Namespace) -> int:
    import json

    from bench.gate import compare

    results = _results(options)
    new = json.loads(results.read_text())
    committed = options.against or _REPORT / ("report.json" if new["corpus"] == "full" else "smoke.json")
    old = json.loads(committed.read_text())
    if old["corpus"] != new["corpus"]:
        print(f"{results} was measured with the corpus {new['corpus']}, {committed} with {old['corpus']}")
        return 2
    verdicts = list(compare(old, new, times=not options.sizes_only, tolerance=options.tolerance))
    for one in verdicts:
        after = "-" if one.after is None else f"{one.after:.3f}"
        print(f"{'FAIL' if one.is_failure else 'ok  '} {one.bench}: {one.ratio}: {one.before:.3f} -> {after} ({one.reason})")
    failures = sum(one.is_failure for one in verdicts)
    print(f"{len(verdicts)} ratios compared with {committed.name} of {old['date']}: {failures} failed")
    return 1 if failures or not verdicts else 0
