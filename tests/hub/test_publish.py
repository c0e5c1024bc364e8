"""Publishing: the files of a dry run, their metadata, what is refused, and what the hub's client is asked."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from hiresnn.app.folder import MODEL
from hiresnn.audit.card import read_card
from hiresnn.errors import RunError, UsageError
from hiresnn.hub.pretrained import Publication, from_pretrained, model_card, upload, write_publication
from hiresnn.report.pages import read_runs

PUBLICATION = Publication("me/mine", license="mit")
FILES = [
    "README.md", "audit/adversarial.npz", "audit/card.json", "environment.json", "metrics.jsonl", "model.safetensors",
    "recipe.toml", "report.html", "result.json",
]  # fmt: skip


def header(text):
    """The YAML header, whose values are written as JSON."""
    lines = text.split("---\n")[1].splitlines()
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}


def test_a_dry_run_gives_a_bit_identical_network(run, tmp_path):
    (run / "resume.pt").write_bytes(b"the state of the training stays behind")
    files = write_publication(run, tmp_path / "out", PUBLICATION)
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == FILES
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == files
    before, after = from_pretrained(run), from_pretrained(tmp_path / "out")
    assert before.state_dict().keys() == after.state_dict().keys()
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before(images), after(images))


def test_the_metadata_has_clean_pgd_worst_case_and_verdict(run, tmp_path):
    write_publication(run, tmp_path / "out", PUBLICATION)
    card = read_card(run / "audit" / "card.json")
    point = card.at(card.setting.headline)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    fields = header(text)
    assert (fields["library_name"], fields["license"]) == ("hiresnn", "mit")
    assert "spiking-neural-network" in fields["tags"]
    (model,) = fields["model-index"]
    values = [metric["value"] for metric in model["results"][0]["metrics"]]
    assert values == [card.clean.percent, point.pgd.percent, point.worst.percent]
    assert fields["hiresnn"]["verdict"] == card.conclusion.verdict
    assert fields["hiresnn"]["worst_case"]["low"] == point.worst.low
    assert card.conclusion.headline in text
    assert 'from_pretrained("me/mine")' in text
    (again,) = read_runs([run])
    assert "licence" not in model_card(again, "me/mine")


def test_the_hubs_own_reader_understands_the_metadata(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    write_publication(run, tmp_path / "out", PUBLICATION)
    fields = hub.ModelCard.load(tmp_path / "out" / "README.md").data
    assert (fields.library_name, fields.license, fields.model_name) == ("hiresnn", "mit", "mine")
    assert len(fields.eval_results) == 3
    assert fields.to_dict()["hiresnn"]["verdict"] == "overestimated"


def test_a_dry_run_that_was_killed_is_repeated(run, tmp_path):
    script = (
        "import os, shutil, sys; from pathlib import Path; from hiresnn.hub import pretrained as publish\n"
        "publish.shutil.copyfile = lambda source, target: (Path(target).write_text(''), os._exit(9))\n"
        "publish.write_publication(Path(sys.argv[1]), Path(sys.argv[2]), publish.Publication('me/mine'))"
    )
    killed = subprocess.run([sys.executable, "-c", script, run, tmp_path / "out"], check=False)
    assert killed.returncode == 9
    assert not (tmp_path / "out").exists()
    files = write_publication(run, tmp_path / "out", PUBLICATION)
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == files


@pytest.mark.parametrize(
    ("missing", "command"),
    [("result.json", "evaluate"), ("audit/card.json", "audit"), ("audit/adversarial.npz", "audit"), (MODEL, "resume")],
)
def test_an_incomplete_run_is_refused_with_the_command_that_completes_it(run, tmp_path, missing, command):
    (run / missing).unlink()
    with pytest.raises(RunError, match=f"has no {missing}.*hiresnn {command} "):
        write_publication(run, tmp_path / "out", PUBLICATION)
    assert not (tmp_path / "out").exists()


def test_a_card_that_does_not_verify_and_a_folder_with_files_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="not an empty folder"):
        write_publication(run, run, PUBLICATION)
    path = run / "audit" / "card.json"
    values = json.loads(path.read_text())
    values["curve"][-1]["worst"]["count"] += 40
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match="does not verify"):
        write_publication(run, tmp_path / "out", PUBLICATION)
    assert not (tmp_path / "out").exists()


def test_an_upload_creates_the_repository_and_sends_the_folder(tmp_path, hub, monkeypatch):
    assert upload(tmp_path, "me/mine", private=True) == "https://example.org/me/mine"
    (_, created), (_, sent) = hub.asked
    assert created == {"private": True, "exist_ok": True}
    assert sent["folder_path"] == tmp_path
    assert "metrics.jsonl" in sent["delete_patterns"]  # of an earlier version of the run
    with pytest.raises(RunError, match=r"could not be published \(OSError: 404\); check the name, your login and"):
        upload(tmp_path, "me/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'huggingface[-_]hub"):
        upload(tmp_path, "me/mine")
    with pytest.raises(UsageError, match="write user/name"):
        upload(tmp_path, "mine")


def marked(value):
    """The same JSON with a tag at the end of every text, of which only lists of choices are left as they are."""
    if isinstance(value, dict):
        return {key: marked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [marked(part) for part in value]
    return f"{value}<script>`" if isinstance(value, str) else value


def test_no_text_of_a_card_becomes_html(run):
    (read,) = read_runs([run])
    values = read.card.model_dump()
    texts = marked(values)
    texts["subject"]["kind"] = values["subject"]["kind"]
    texts["conclusion"].update({name: values["conclusion"][name] for name in ("verdict", "own")})
    texts["setting"]["norm"] = values["setting"]["norm"]
    texts |= {"checks": values["checks"], "screening": values["screening"]}
    text = model_card(replace(read, card=type(read.card).model_validate(texts)), "me/mine<script>", "mit<script>")
    assert text.count("script") > 13
    assert not re.search(r"(?<!\\)<script", text)
    assert header(text)["license"] == "mit<script>"


def test_class_names_are_shown_as_they_are(run):
    (read,) = read_runs([run])
    images = read.card.data.model_copy(update={"classes": ["<img src=x>", "a|b", "__c__", "d\ne"]})
    text = model_card(replace(read, card=read.card.model_copy(update={"data": images})), "me/mine")
    assert r"classes: \<img src=x\>, a\|b, \_\_c\_\_, d e." in text
