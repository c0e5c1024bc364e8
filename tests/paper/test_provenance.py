"""What is kept of where a figure was measured, and the sentence on it."""

import torch

from hiresnn.paper.provenance import here, note
from hiresnn.runs.environment import cpu_model


def record(cpu: str, date: str) -> dict[str, str]:
    return {"cpu": cpu, "torch": "2.5", "date": f"{date}T10:00:00+00:00"}


def test_a_record_names_processor_torch_and_code() -> None:
    found = here()
    assert (found["cpu"], found["torch"]) == (cpu_model(), torch.__version__)
    assert {"date", "threads", "git_commit"} <= found.keys()


def test_figures_of_several_machines_and_days_are_told_apart_the_most_first() -> None:
    records = [
        record("B", "2026-11-25"),
        record("A", "2026-11-25"),
        record("A", "2026-11-24"),
        record("A", "2026-11-25"),
    ]
    assert note([*records, {}]) == (
        "Measured: 3 figures on A, torch 2.5, 2026-11-24 to 2026-11-25; 1 figure on B, torch 2.5, 2026-11-25; "
        "1 figure without a record of where and when."
    )
