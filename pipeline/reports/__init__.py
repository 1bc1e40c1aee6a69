"""Reports: one HTML file that shows a mask or an archive, and opens from disk without a network.

May import web, evaluation, archives, masks and everything below them; nothing of flows or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.reports.options import ReportOptions
    from pipeline.reports.report import check_report_of_run, report_run, write_report

__all__ = ["ReportOptions", "check_report_of_run", "report_run", "write_report"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.reports.options": ("ReportOptions",),
        "pipeline.reports.report": ("check_report_of_run", "report_run", "write_report"),
    },
)
