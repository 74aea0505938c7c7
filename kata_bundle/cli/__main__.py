"""``python -m kata_bundle.cli``: the same as the ``kata-bundle`` script."""

import sys

from kata_bundle.cli import main

sys.exit(main())
