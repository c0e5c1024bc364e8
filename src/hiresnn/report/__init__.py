"""Pages: audit cards and training runs as one HTML file each, which opens offline and asks for nothing else."""

from hiresnn.report.page import audit_page, runs_page

__all__ = ["audit_page", "runs_page"]
