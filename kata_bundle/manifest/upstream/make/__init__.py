"""A small evaluator of makefiles: assignments, conditionals, includes and the functions that only compute text.

Nothing is executed. What it cannot know (a program's output, a function it has no model of) becomes an unknown that travels with
the values made of it, so that whoever uses such a value can say so.
"""

from __future__ import annotations

from kata_bundle.manifest.upstream.make.evaluator import Makefile, evaluate
from kata_bundle.manifest.upstream.make.text import is_known, unknown_reasons
from kata_bundle.manifest.upstream.make.values import Place, Target

__all__ = ["Makefile", "Place", "Target", "evaluate", "is_known", "unknown_reasons"]
