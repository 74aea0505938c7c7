"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure kata-bundle against its peers.")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="folder of corpora [default: KATA_BUNDLE_BENCH, else the user's cache]"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus", help="make the corpus, or what of it is out of date")
    corpus.add_argument("kind", nargs="?", choices=("full", "smoke"), default="full")
    corpus.add_argument("--relock", action="store_true", help="choose package versions again from today's mirror")
    options = parser.parse_args(arguments)
    return _corpus(options)


def _corpus(options: argparse.Namespace) -> int:
    from bench.corpus import ensure_corpus, relock

    if options.relock:
        relock()
    made = ensure_corpus(options.kind, options.corpus)
    for release, arches in made.shape()["releases"].items():
        for arch, components in arches.items():
            totals = {
                key: sum(one[key] for one in components.values()) / 1e6 for key in ("bytes", "tarball_bytes", "layer_bytes")
            }
            print(f"{release} {arch}: {len(components)} components, {totals['bytes']:.1f} MB, tarballs "
                  f"{totals['tarball_bytes']:.1f} MB, layers {totals['layer_bytes']:.1f} MB")  # fmt: skip
    print(made.root)
    return 0
