"""The Helm chart: values and their schema from the catalog, and the templates beside this file.

Must not know: clusters, nodes, the command line.
"""

from __future__ import annotations

from kata_bundle.generate.chart.render import CHART_NAME, render_chart

__all__ = ["CHART_NAME", "render_chart"]
