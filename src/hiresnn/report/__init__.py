"""HTML pages of audit cards and training runs. Each is one file that loads nothing."""

from hiresnn.audit.card import read_card
from hiresnn.report.pages import audit_page, read_runs, runs_page

__all__ = ["audit_page", "read_card", "read_runs", "runs_page"]
