"""The networks of the package: complete, small, as audited, and what their recipes train."""

from pathlib import Path

import pytest

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.audit import verify
from hiresnn.app.folder import METRICS, MODEL
from hiresnn.app.recipe import override, read
from hiresnn.errors import UsageError
from hiresnn.hub.__main__ import LARGEST, WEIGHTS, main
from hiresnn.hub.pretrained import README, SHELF, copy, folder_of, from_pretrained, names, shipped
from hiresnn.hub.publish import CARD, COPIED, model_card
from hiresnn.report.reading import Run

RECIPES = {
    "digits-traditional": ("digits", {"method": "traditional"}),
    "digits-hire": ("digits", {"method": "hire"}),
    "robust-digits": ("robust-digits", {}),
    "digits-consistency": ("robust-digits", {"method": "consistency"}),
    "cifar10-traditional": ("vgg5-cifar10-cpu", {"method": "traditional", "model.hidden": "96"}),
    "cifar10-hire": ("vgg5-cifar10-cpu", {"method": "hire", "model.hidden": "96"}),
    "robust-cifar10": ("robust-cifar10-cpu", {"model.hidden": "96"}),
}
"""Network -> the recipe that trained it, and what was set; docs/share.md has the commands."""


@pytest.fixture(scope="module", params=shipped(), ids=names())
def network(request: pytest.FixtureRequest) -> Run:
    found: Run = request.param
    return found


def test_the_networks_that_the_docs_name_are_there() -> None:
    assert set(RECIPES) <= set(names())


def test_a_network_has_all_its_files_and_is_small(network: Run) -> None:
    assert network.notes == ()
    files = [path for path in network.path.rglob("*") if path.is_file()]
    found = {str(path.relative_to(network.path)) for path in files}
    assert found | {METRICS} == {*COPIED, README, CARD}  # a converted network has no epochs of its own
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert (network.path / MODEL).stat().st_size <= WEIGHTS


def test_a_network_has_the_accuracy_of_its_result(network: Run) -> None:
    assert network.outcome is not None
    if network.recipe.data.source != "digits":
        pytest.skip("its images are not part of the package; the audit is checked below")
    test = data.load(network.recipe.data.source).test
    assert accuracy(from_pretrained(network.name), test) == pytest.approx(network.outcome.clean, abs=0.6)


def test_the_audit_of_a_network_verifies(network: Run) -> None:
    assert verify(network.path / CARD, str(network.path)).problems == ()


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_is_what_the_recipe_of_the_package_trains(name: str) -> None:
    recipe, changes = RECIPES[name]
    (found,) = [run for run in shipped() if run.name == name]
    assert found.recipe == override(read(recipe), {**changes, "seed": "0"})


def test_the_model_card_is_that_of_the_files(network: Run) -> None:
    assert (network.path / README).read_text(encoding="utf-8") == model_card(network, network.name, "mit")


def test_a_copy_is_a_new_folder_with_the_same_files(tmp_path: Path) -> None:
    copy("digits-hire", tmp_path / "mine")
    assert (tmp_path / "mine" / CARD).read_bytes() == (SHELF / "digits-hire" / CARD).read_bytes()
    with pytest.raises(UsageError, match="exists and is not replaced"):
        copy("digits-hire", tmp_path / "mine")


def test_an_unknown_network_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no network 'digits-hier'; did you mean \"digits-hire\""):
        folder_of("digits-hier")


def test_one_command_adds_an_audited_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiresnn.hub.__main__.SHELF", tmp_path / "shelf")
    for _ in range(2):  # the second replaces the first
        assert "Added" in main([str(run), "new"])
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["new"]
    assert 'from_pretrained("new")' in (tmp_path / "shelf" / "new" / README).read_text()
    for limit, message in (("WEIGHTS", "train a narrower network"), ("LARGEST", "audit fewer images")):
        with monkeypatch.context() as context:
            context.setattr(f"hiresnn.hub.__main__.{limit}", 1000)
            with pytest.raises(UsageError, match=message):
                main([str(run), "large"])
    for words in ([str(run), "../new"], [str(run)]):
        with pytest.raises(UsageError, match=r"letters, digits and hyphens|takes two names"):
            main(words)
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["new"]
