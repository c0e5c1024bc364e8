"""`claims`: every claim of the paper beside its verdict, as a page and on the terminal."""

from dataclasses import replace
from pathlib import Path

from reproduction.measurements import Measurement
from reproduction.run_all import claims_text, reproduce
from reproduction.study import Study

from .conftest import TWO_SEEDS, page
from .test_tables import faithful

VGG5 = "vgg5-cifar10"


def answer(wanted: Measurement) -> float | None:
    """The paper's own accuracies, and nothing else."""
    if wanted.kind != "accuracy" or wanted.method in ("gaussian", "noise-free") or "timesteps" in str(wanted.changes):
        return None
    if "noise.step" in str(wanted.changes) or (wanted.attack or "clean").partition(":")[1]:
        return None
    return faithful(wanted)


def test_every_headline_has_a_verdict_and_abstracts_come_first() -> None:
    made = page("claims", answer, replace(TWO_SEEDS, images=0))
    rows = made.tables[0].rows
    where = [str(row[0]) for row in rows]
    assert where == sorted(where, key=lambda each: not each.startswith("abstract"))
    by_paper = {row[3]: row for row in rows if row[3] is not None}
    for printed in (13.7, 10.4, 10.1, 12.2, 8.8, 25.0):
        assert by_paper[printed][5] == "agrees", by_paper[printed]
    assert not [row for row in rows if row[5] == "differs"]
    assert "Not measured at this scale: table4, table6, table7, fig1a, fig1b, fig3, fig5a" in made.notes[-1]
    assert f"Of {len(rows)} claims: " in made.notes[-2]


def test_the_terminal_shows_one_paragraph_for_each_claim(study: Study, tmp_path: Path) -> None:
    for method, percent in (("hire", 40.0), ("traditional", 60.0)):
        for attack in ("fgsm", "pgd"):
            wanted = Measurement("accuracy", VGG5, method, 0, attack)
            study.put(wanted, percent, 1.0)
    written = reproduce(study, ["claims"], tmp_path, command="", partial=True)
    assert [path.name for path in written] == ["claims.md", "claims.csv", "runs.csv", "index.md"]
    text = claims_text(tmp_path)
    line = next(line for line in text.splitlines() if "better than traditional training for every network" in line)
    assert line.startswith(("DIFFERS       sec. 5.2: HIRE-SNN is better", "WITHIN ERROR  sec. 5.2: HIRE-SNN is better"))
    assert "paper 2.5, here -20.0 (" in text
    assert "[table2]" in text
    assert claims_text(tmp_path / "elsewhere") == ""
