"""``python -m bench``: corpus, peers, run, report, gate."""

from __future__ import annotations

import sys

from bench.command import main

sys.exit(main())
