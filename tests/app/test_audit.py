"""`hiresnn audit` on a trained run: its files are correct, it continues where it stopped, and it refuses bad input."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor

from hiresnn import data
from hiresnn.app import audit as module
from hiresnn.app.audit import ADVERSARIAL, CARD, AuditRequest, _repeat, audit, verify
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.recipe import Recipe, dump, override
from hiresnn.audit import PRESETS, AuditConfig, Card, Preset, parse_bound
from hiresnn.audit.presets import Choice, Stage, stage_attack
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.progress import Progress
from hiresnn.report.reading import read_card

QUIET = Progress(quiet=True)
TINY = Stage(
    rules=("own", "arctan", "assg"), sample=6, iterations=2, queries=3, most=1, directions=2, noise=2,
    attacks=(stage_attack("apgd", Choice.BEST, iterations=3, loss="dlr"), stage_attack("square", queries=3)),
)  # fmt: skip
QUICK, COMMAND = Preset("quick", 30, (TINY,)), "hiresnn audit runs/run"
MORE = replace(TINY, rules=("own",), most=None, attacks=(stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=3),))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take a second."""
    monkeypatch.setitem(PRESETS, "quick", QUICK)
    monkeypatch.setitem(PRESETS, "standard", Preset("standard", 30, (TINY, MORE)))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets of a single query, for what does not depend on the attacks."""
    one = replace(TINY, rules=("own",), most=None, attacks=(stage_attack("square", queries=1),))
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 10, (one,)))
    monkeypatch.setitem(PRESETS, "standard", Preset("standard", 10, (one, replace(one, sample=2))))


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """The trained runs, to write in."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture(scope="module")
def audited_once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained runs, with a quick audit in "run". Read only."""
    runs = Path(shutil.copytree(trained, tmp_path_factory.mktemp("audited") / "runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", QUICK)
        patch.chdir(runs.parent)
        audited("runs/run", command=COMMAND)
    return runs


@pytest.fixture
def done(audited_once: Path, tmp_path: Path) -> Path:
    """The same, to write in."""
    return Path(shutil.copytree(audited_once, tmp_path / "runs"))


SETTINGS = ("preset", "bounds", "attacks", "seed", "batch_size")


def asked(target: Path | str, **changes: Any) -> AuditRequest:
    values = {"bounds": ("8/255", "26/255", "inf"), "batch_size": 15, "eps": "26/255", **changes}
    config = AuditConfig(**{name: values.pop(name) for name in SETTINGS if name in values})
    return AuditRequest(str(target), config, **values)


def audited(target: Path | str, **changes: Any) -> tuple[Card, Path]:
    return audit(asked(target, **changes), progress=QUIET)


def timeless(card: Card) -> dict[str, Any]:
    values = card.model_dump(exclude={"date": True, "budget": {"seconds"}, "environment": {"date"}})
    for row in values["attacks"]:
        row.pop("seconds")
    return values


def test_the_card_is_written_into_the_run_and_reads_back(audited_once: Path) -> None:
    runs, folder = audited_once, audited_once / "run" / "audit"
    card = read_card(folder / CARD)
    assert json.loads((folder / CARD).read_text())["schema_version"] == 2
    subject = card.subject
    assert (subject.name, subject.kind, subject.architecture) == ("run", "run", "vgg5")
    assert (subject.library, subject.method, subject.timesteps) == ("hiresnn", "traditional", 4)
    assert (subject.random, subject.draws, subject.rounds) == (False, 1, False)
    network = load(runs / "run" / MODEL)
    assert subject.neurons == len(network.neurons)  # type: ignore[arg-type]
    assert (card.data.name, card.data.split, card.data.images, card.data.size) == ("digits", "test", 30, [1, 8, 8])
    assert card.setting.bounds == ["0", "8/255", "26/255", "inf"]
    assert (card.setting.headline, card.setting.preset, card.setting.seed) == ("26/255", "quick", 0)
    assert card.setting.command == COMMAND
    assert str(torch.__version__).startswith(card.environment["torch"])  # the package may leave out "+cu132"


def shown(count: int) -> tuple[Tensor, Tensor]:
    split = data.in_turn(data.load("digits").test, count)
    return split.images.float() / 255, split.labels


def test_the_adversarial_images_break_the_network_loaded_anew_within_their_bounds(audited_once: Path) -> None:
    runs, folder = audited_once, audited_once / "run" / "audit"
    card = read_card(folder / CARD)
    network, (images, labels) = load(runs / "run" / MODEL), shown(30)
    with np.load(folder / ADVERSARIAL, allow_pickle=False) as file:
        found = dict(file.items())
    assert set(found) == {"index", "eps", "label", "adversarial", "clean"}
    assert found["adversarial"].dtype == found["clean"].dtype == np.float32
    index = torch.from_numpy(found["index"])
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == card.clean.count - card.at("inf").worst.count > 5
    assert (found["clean"] == images[index].numpy()).all()
    assert (found["label"] == labels[index].numpy()).all()
    adversarial = torch.from_numpy(found["adversarial"])
    with torch.no_grad():
        assert (network(images[index]).argmax(1) == labels[index]).all()
        assert (network(adversarial).argmax(1) != labels[index]).all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    distance = (adversarial - images[index]).abs().flatten(1).amax(1).numpy()
    assert (distance <= found["eps"] + 1e-6).all()
    for bound in ("8/255", "26/255"):
        fell = int((found["eps"] <= card.at(bound).eps).sum())  # type: ignore[operator]
        assert card.clean.count - fell == card.at(bound).worst.count


def test_the_curve_is_that_of_the_images_in_turn(runs: Path, few: None) -> None:
    card, _ = audited(runs / "run", images=20)
    images, labels = shown(20)
    with torch.no_grad():
        assert card.clean.count == int((load(runs / "run" / MODEL)(images).argmax(1) == labels).sum())
    assert card.clean.of == 20


def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces that are worked on from here on."""
    worked: list[str] = []
    real = module.ArrayCache.__setitem__

    def noted(self: Any, key: str, record: Any) -> None:
        worked.append(key)
        real(self, key, record)

    monkeypatch.setattr(module.ArrayCache, "__setitem__", noted)
    return worked


def test_a_repeated_audit_does_no_work(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done.parent)
    first = read_card(done / "run" / "audit" / CARD)
    worked = passes(monkeypatch)
    again, folder = audited("runs/run", command=COMMAND)
    assert worked == []
    assert timeless(again) == timeless(first)
    assert folder == Path("runs/run/audit")
    assert read_card(folder / CARD) == again


def test_an_interrupted_audit_continues_to_the_same_card(
    runs: Path, audited_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    whole = read_card(audited_once / "run" / "audit" / CARD)
    real = module.ArrayCache.__setitem__
    written: list[str] = []

    def interrupted(self: Any, key: str, record: Any) -> None:
        if len(written) == 12:
            raise KeyboardInterrupt
        written.append(key)
        real(self, key, record)

    with monkeypatch.context() as patch:
        patch.setattr(module.ArrayCache, "__setitem__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audited("runs/run")
    assert not (runs / "run" / "audit" / CARD).exists()
    worked = passes(monkeypatch)
    card, _ = audited("runs/run", command=COMMAND)
    assert timeless(card) == timeless(whole)
    assert not set(worked) & set(written)


def test_a_larger_preset_continues_a_smaller_one(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = read_card(done / "run" / "audit" / CARD)
    worked = passes(monkeypatch)
    standard, _ = audited(done / "run", preset="standard")
    assert worked
    assert all(key.startswith(("screen 1 ", "sweep sa-pgd")) for key in worked)
    assert standard.setting.preset == "standard"
    for here, there in zip(standard.curve, quick.curve, strict=True):
        assert here.worst.count <= there.worst.count


def test_other_weights_another_seed_and_another_headline_are_another_audit(
    runs: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, fingerprints = runs / "out", set()
    worked = passes(monkeypatch)
    changes: dict[str, Any]
    for run, changes in (("run", {}), ("run", {"seed": 1}), ("run", {"eps": "8/255"}), ("run", {"batch_size": 9}),
                         ("same", {})):  # fmt: skip
        worked.clear()
        card, _ = audited(runs / run, out=out, images=10, bounds=("26/255",), **changes)
        assert any(key.startswith("clean") for key in worked), changes
        fingerprints.add(card.subject.fingerprint)
    assert len(fingerprints) == 2


def test_of_two_simultaneous_audits_in_a_folder_the_second_is_refused(
    runs: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = []  # else a lock that nobody holds any more is given up by itself

    def lock(path: Path) -> Any:
        locks.append(FileLock(path))
        return locks[-1]

    def second(*_: Any, **__: Any) -> None:
        audited(runs / "same", images=10, out=runs / "out")

    monkeypatch.setattr("hiresnn.app.folder.FileLock", lock)
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_sweep", second)
        with pytest.raises(RunError, match="out is in use: another process"):
            audited(runs / "run", images=10, out=runs / "out")
    for name in ("run", "same"):  # the first gave the folder up when it failed, and does so when it is done
        assert audited(runs / name, images=10, out=runs / "out")[0].subject.name == name
    assert [each.is_locked for each in locks] == [False] * 4


def test_a_folder_that_cannot_be_created_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/audit cannot be written .*choose another"):
        audited(runs / "run", out=tmp_path / "file" / "audit")


def test_a_twin_makes_images_for_the_network(runs: Path, few: None) -> None:
    card, _ = audited(runs / "run", twins=(str(runs / "same"),))
    fingerprint = audited(runs / "same")[0].subject.fingerprint
    assert card.setting.twins == [f"same ({str(fingerprint)[:6]})"]
    row = next(row for row in card.attacks if row.attack == "transfer")
    assert row.label == f"transfer from {card.setting.twins[0]}"
    assert (row.rule, row.shown > 0, row.backward > 0) == (None, True, True)
    assert any(cell.attack == row.label for cell in card.screening.cells)


@pytest.mark.parametrize("twins", [("run",), ("same", "same"), ("copy",)])
def test_a_twin_with_the_weights_of_the_network_or_of_another_twin_is_refused(
    runs: Path, twins: tuple[str, ...]
) -> None:
    shutil.copytree(runs / "run", runs / "copy")
    message = f"the twin .*{twins[-1]} has the weights of the audited network or of another twin; name another"
    with pytest.raises(UsageError, match=message):
        audited(runs / "run", images=10, twins=tuple(str(runs / twin) for twin in twins))
    assert not (runs / "run" / "audit").exists()


def test_a_users_attack_is_run_at_every_bound(runs: Path, few: None) -> None:
    card, _ = audited(runs / "run", images=20, attacks=("fgsm:rule=straight-through",))
    assert card.setting.attacks == ["fgsm:rule=straight-through"]
    assert card.attacks[-1].label == "fgsm:rule=straight-through (added)"
    assert card.attacks[-1].rule == "straight-through"


def test_an_ann_is_audited_with_its_own_gradient_alone(runs: Path) -> None:
    card, _ = audited(runs / "plain", images=20)
    assert (card.subject.method, card.subject.neurons, card.subject.timesteps) == ("ann", 0, None)
    assert card.activity is None
    assert [report.rule for report in card.screening.rules] == ["own"]
    assert {row.rule for row in card.attacks} == {"own", None}
    assert card.curve[0].worst.count > card.at("inf").worst.count


def test_the_defaults_are_the_recipes_bound_and_the_presets_images(runs: Path) -> None:
    card, _ = audit(AuditRequest(str(runs / "run"), AuditConfig(bounds=("inf",), batch_size=30)), progress=QUIET)
    recipe = RunFolder.open(runs / "run").recipe
    assert card.at(card.setting.headline).eps == pytest.approx(recipe.attack.eps)
    assert (card.data.images, card.data.name) == (30, recipe.data.source)


def test_the_recipes_pgd_is_the_papers_one_in_proportion_to_the_bound(runs: Path, tiny: Recipe) -> None:
    changes = {"attack.eps": "8/255", "attack.step": "0.01", "attack.iterations": "3", "attack.random_start": "true"}
    (runs / "run" / "recipe.toml").write_text(dump(override(tiny, changes)))
    subject = module.resolve_model(str(runs / "run"))
    found = module._paper(subject, parse_bound("4/255"))
    assert found == {"step": pytest.approx(0.005), "iterations": 3, "random_start": True}
    found = module._paper(replace(subject, recipe=None), parse_bound("16/255"))
    assert found == {"step": pytest.approx(0.02), "iterations": 7}  # sec. 5.1: 0.01 at 8/255, 7 iterations


def test_no_more_images_are_audited_than_there_are(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def stop(model: Any, images: Tensor, *_: Any, **__: Any) -> None:
        seen.append(len(images))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_sweep", stop)
    with pytest.raises(KeyboardInterrupt):
        audited(runs / "run", images=10**6)
    assert seen == [len(data.load("digits").test)]


NETWORK = """
import torch
from torch import nn
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear({pixels}, {classes}))
def always_zero():
    made = network()
    nn.init.zeros_(made[1].weight)
    made[1].bias.data = torch.eye({classes})[0]
    return made
class Wordless(nn.Module):
    def forward(self, images):
        raise ValueError
"""


def function(tmp_path: Path, name: str = "network", *, pixels: int = 64, classes: int = 10) -> str:
    path = tmp_path / "mine.py"
    path.write_text(NETWORK.format(pixels=pixels, classes=classes))
    return f"{path}:{name}"


def test_a_function_is_audited_into_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    card, folder = audited(function(tmp_path), source="digits")
    assert folder == Path("audits/mine-network")
    assert (folder / CARD).is_file()
    assert (card.subject.kind, card.subject.method, card.subject.neurons) == ("function", None, 0)
    assert card.setting.headline == "26/255"


def test_a_function_needs_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no data set of its own; name one with --data"):
        audited(function(tmp_path), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_function_for_images_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the network failed on call 1, .* 1 x 8 x 8: RuntimeError: .*mat1 and mat2"):
        audited(function(tmp_path, pixels=100), source="digits", out=tmp_path / "out")


def test_a_network_that_fails_without_a_message_is_refused_with_the_name_of_its_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the network failed on call 1, .*: ValueError;"):
        audited(function(tmp_path, "Wordless"), source="digits", out=tmp_path / "out")


def test_a_function_for_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.py:network has 100 output classes, but digits has 10"):
        audited(function(tmp_path, classes=100), source="digits", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_broken_images_the_archive_is_empty_with_the_same_arrays(tmp_path: Path) -> None:
    card, folder = audited(function(tmp_path, "always_zero"), source="digits", images=20, out=tmp_path / "out")
    assert card.clean.count == card.at("inf").worst.count == 2  # the zeros of 20 digits, every class in turn
    with np.load(folder / ADVERSARIAL, allow_pickle=False) as file:
        kinds = {name: (values.dtype, values.shape) for name, values in file.items()}
    assert kinds == {
        "index": (np.int64, (0,)),
        "eps": (np.float64, (0,)),
        "label": (np.int64, (0,)),
        "adversarial": (np.float32, (0, 1, 8, 8)),
        "clean": (np.float32, (0, 1, 8, 8)),
    }


def other(path: Path, size: int = 8, classes: int = 10) -> str:
    images, labels = np.zeros((2 * classes, size, size, 1), np.uint8), np.arange(2 * classes) % classes
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"size": 16}, "has image_size = 8, but the images of .* have 16"),
        ({"classes": 7}, "10 .*classes.* has 7"),
    ],
)
def test_images_that_do_not_fit_the_run_are_refused(
    runs: Path, tmp_path: Path, shape: dict[str, int], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        audited(runs / "run", source=other(tmp_path / "other.npz", **shape))
    assert not (runs / "run" / "audit").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"preset": "fast"}, UsageError, "preset is 'fast'; choose one of quick, standard, thorough"),
        ({"eps": "0"}, UsageError, "eps is 0"),
        ({"bounds": ("x",)}, UsageError, "bound 'x' is not a number"),
        ({"attacks": ("pgd:eps=0.1",)}, UsageError, "names eps"),
        ({"attacks": ("ddos",)}, UsageError, "attack 'ddos' is not known"),
        ({"twins": ("nowhere",)}, RunError, "run folder nowhere does not exist"),
        ({"source": "no-such-data"}, HiresnnError, "no-such-data"),
    ],
)
def test_a_wrong_request_is_refused_and_writes_nothing(
    runs: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        audited(runs / "run", **changes)
    assert not (runs / "run" / "audit" / CARD).exists()


HELPED = """
import torch
from torch import nn
import layers_of_it
class Net(nn.Module):
    def forward(self, images):
        return layers_of_it.SIGN * images.flatten(1)[:, :10]
def network():
    return Net()
"""


def helped(tmp_path: Path, sign: int, name: str = "mine") -> str:
    """A network without weights that a module beside its file decides, as a new process finds it."""
    (tmp_path / f"{name}.py").write_text(HELPED)
    (tmp_path / "layers_of_it.py").write_text(f"SIGN = {sign:+d}  # \n")
    for path in tmp_path.glob("__pycache__/*"):
        path.unlink()
    sys.modules.pop("layers_of_it", None)
    return f"{tmp_path / name}.py:network"


def test_cached_work_of_a_network_whose_helpers_changed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = passes(monkeypatch)

    def worked_again(sign: int) -> bool:
        worked.clear()
        audited(helped(tmp_path, sign), source="digits", images=20, out=tmp_path / "out")
        return bool(worked)

    assert [worked_again(sign) for sign in (+1, +1, -1, +1)] == [True, False, True, False]


def test_cached_work_with_a_changed_twin_is_refused(runs: Path, few: None, tmp_path: Path) -> None:
    def with_twin(sign: int) -> None:
        audited(runs / "run", images=20, twins=(helped(tmp_path, sign, "other"),))

    with_twin(+1)
    with_twin(+1)
    message = r"cache-\w+ holds work with a twin other-network \(.*\) that gave other answers; delete that folder, or"
    with pytest.raises(RunError, match=message):
        with_twin(-1)


def test_a_twin_of_another_number_of_classes_is_refused(runs: Path, tmp_path: Path) -> None:
    message = r"the twin .* has 100 output classes, but digits has 10"
    with pytest.raises(UsageError, match=message):
        audited(runs / "run", twins=(function(tmp_path, classes=100),))
    assert not (runs / "run" / "audit").exists()


def test_a_command_that_the_card_cannot_hold_is_refused_before_the_work(runs: Path) -> None:
    with pytest.raises(RunError, match=r"card\.json .*caf\\udce9"):
        audited(runs / "run", command="hiresnn audit caf\udce9")
    assert not (runs / "run" / "audit").exists()


def test_a_smaller_audit_replaces_a_larger_one_only_when_it_is_told_to(
    runs: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(runs / "run", images=20, preset="standard")
    before = (runs / "run" / "audit" / CARD).read_bytes()
    worked = passes(monkeypatch)
    for changes in ({"images": 10, "preset": "standard"}, {"images": 20}):
        with pytest.raises(RunError, match=r"20 images with preset standard.*--replace"):
            audited(runs / "run", **changes)
    assert worked == []  # before any work
    assert (runs / "run" / "audit" / CARD).read_bytes() == before
    assert audited(runs / "run", images=10, replace=True)[0].data.images == 10
    assert audited(runs / "run", images=20, preset="standard")[0].data.images == 20


def test_a_card_that_cannot_be_read_is_replaced_only_when_told_to(runs: Path, few: None) -> None:
    (runs / "run" / "audit").mkdir()
    (runs / "run" / "audit" / CARD).write_text('{"schema_version": 7}')
    with pytest.raises(RunError, match=r"not an audit card that this version can read.*--replace"):
        audited(runs / "run", images=10)
    audited(runs / "run", images=10, replace=True)


def test_the_card_of_a_run_verifies_itself_and_finds_a_changed_network(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, folder = done, done / "run" / "audit"
    monkeypatch.chdir(done.parent)
    assert verify(folder / CARD, str(runs / "run")).problems == ()
    assert verify(folder).problems == ()  # the card names its run
    problems = verify(folder, str(runs / "same")).problems
    assert "the network's weights are not those that the card names" in problems


def test_a_card_makes_verification_run_no_code(tmp_path: Path) -> None:
    _, folder = audited(function(tmp_path), source="digits", out=tmp_path / "out")
    (tmp_path / "mine.py").write_text("raise RuntimeError('executed')")
    with pytest.raises(UsageError, match="may not choose the code"):
        verify(folder)
    forged = json.loads((folder / CARD).read_text())
    forged["subject"]["kind"] = "run"  # the target is still mine.py:network
    (folder / CARD).write_text(json.dumps(forged))
    with pytest.raises(UsageError, match="names Python code"):
        verify(folder)
    function(tmp_path)
    assert verify(folder, f"{tmp_path / 'mine.py'}:network").problems == ()


def test_the_next_step_keeps_what_was_asked_for(runs: Path) -> None:
    card, _ = audited(runs / "run", eps="16/255", bounds=("4/255", "16/255"), attacks=("pgd:iterations=3",))
    assert card.conclusion.next_step.endswith(
        "--eps 16/255 --bounds 4/255,16/255 --attack pgd:iterations=3 --batch 15 --preset standard"
    )
    config = AuditConfig(seed=3)
    request = AuditRequest("runs/run", config, ("runs/same",), out=Path("an audit"), views=("int8", "leak=1"))
    assert _repeat(request) == "hiresnn audit runs/run --twin runs/same --as int8 --as leak=1 --seed 3 --out 'an audit'"
    with pytest.raises(RunError, match=r"name the card\.json in the folder of an audit"):
        verify(runs / "run" / "recipe.toml")


def test_a_card_in_a_run_is_verified_against_that_run_wherever_it_is(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = done.rename(done.parent / "moved")
    assert verify(moved / "run" / "audit").problems == ()
    monkeypatch.chdir(moved / "run" / "audit")
    assert verify(Path(CARD)).problems == ()
    other = shutil.copytree(moved / "run" / "audit", moved / "card of another folder")
    with pytest.raises(RunError, match="run folder runs/run does not exist"):
        verify(other)
