"""The pages of results/ come out of the values stored beside them, byte for byte: two scales, 420 measured values."""

from pathlib import Path

import pytest

from hiresnn.progress import Progress
from reproduction import study as study_module
from reproduction.artefacts import ARTEFACTS, every, finished, needs
from reproduction.page import csv_text, markdown
from reproduction.paper import SCALES
from reproduction.study import Study

RESULTS = Path(__file__).parents[2] / "results"
CONTENT = {  # SHA-256 of the files that were measured
    "cifar10": "4c7c598c50c7e284a7dd95c3857c891ec835d589c1d9b851e505fdf9187a6b33",
    "cifar100": "5e1707d06951f9d919e881e2496e175e52067d1a44cd99a5650e926dad8b3c51",
    "mnist": "6d504d39eca54581c8b7d3618b3d6455cebc782ca1d2fe7702054552ff898b34",
}
PAGES = [(f"paper{'-mid' if scale == 'mid' else ''}", scale, name) for scale in ("cpu", "mid")
         for name in (*every(SCALES[scale]), *(["thresholds"] if scale == "cpu" else []))]  # fmt: skip
RATE = ("table1", "table2", "rate", "fig3", "fig10a", "fig11a", "fig11b", "saturation")
PAGES += [("paper-rate", "cpu", name) for name in RATE]  # one seed of VGG5 on another processor
NETWORKS = {"paper": [], "paper-mid": ["vgg5-cifar10", "resnet12-cifar10"], "paper-rate": ["vgg5-cifar10"]}


@pytest.mark.skipif(not (RESULTS / "paper").is_dir(), reason="the stored pages are in the repository only")
@pytest.mark.parametrize(("folder", "scale", "name"), PAGES, ids=lambda value: str(value))
def test_a_page_comes_out_of_its_stored_values(folder, scale, name, monkeypatch):
    networks = NETWORKS[folder]
    used = {SCALES[scale].source(network) for network in networks or SCALES[scale].networks}
    sources = {source: f"{source}.npz" for source in used}
    monkeypatch.setattr(study_module, "content", lambda source: CONTENT[source.removesuffix(".npz")])
    seeds = 1 if name == "thresholds" or folder == "paper-rate" else None  # measured with --seeds 1
    chosen = SCALES[scale].changed(seeds=seeds, sources=sources, networks=networks)
    study = Study(chosen, root=RESULTS / folder, progress=Progress(quiet=True))
    page = finished(study, name, needs(name, chosen))
    subtitle = chosen.subtitle(page.networks, page.images)
    assert markdown(name, ARTEFACTS[name][0], subtitle, page) == (RESULTS / folder / f"{name}.md").read_text("utf-8")
    for number, table in enumerate(page.tables, start=1):
        path = RESULTS / folder / f"{name}{f'-{number}' if number > 1 else ''}.csv"
        assert csv_text(table) == path.read_text("utf-8")
