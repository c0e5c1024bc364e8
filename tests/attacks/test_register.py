"""Attacks that users add: registered, as a file, or offered by an installed package."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hiresnn import plugins
from hiresnn.app.audit import _identity
from hiresnn.app.targets import load_attack
from hiresnn.attacks import ATTACKS, AttackSpec, parse, register
from hiresnn.audit import AuditConfig
from hiresnn.errors import AttackError, HiresnnError, UsageError
from hiresnn.neurons.rules import RULES, rule_from_text

from ..offering import offer

IMAGES, LABELS = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def darker(model, images, labels, *, eps=0.1, strength=1.0, rounds=1, twice=False, generator=None):
    """Make every pixel darker.

    More text.
    """
    return images - eps * strength * rounds * (1 + twice)


@pytest.fixture(autouse=True)
def own_tables() -> Iterator[None]:
    attacks, rules = dict(ATTACKS), dict(RULES)
    yield
    for table, before in ((ATTACKS, attacks), (RULES, rules)):
        table.clear()
        table.update(before)


def test_a_registered_attack_has_its_numbers_and_switches_as_options():
    register("darker", darker)
    assert ATTACKS["darker"].options == {"eps": 0.1, "strength": 1.0, "rounds": 1, "twice": False}
    assert ATTACKS["darker"].summary == "Make every pixel darker."
    spec = parse("darker:strength=0.25,twice=true")
    assert torch.equal(spec(MODEL, IMAGES, LABELS), IMAGES - 0.1 * 0.25 * 2)
    assert torch.equal(spec.at(0.2)(MODEL, IMAGES, LABELS), IMAGES - 0.2 * 0.25 * 2)
    assert AttackSpec.parse(str(spec)) == spec


@pytest.mark.parametrize("text", ["darker:rounds=1.5", "darker:strength=nan", "darker:twice=2", "darker:generator=1"])
def test_options_of_a_registered_attack_are_checked(text):
    register("darker", darker)
    with pytest.raises(UsageError, match=r"rounds|strength|twice|generator"):
        parse(text)


def test_the_result_of_a_registered_attack_is_checked():
    register("darker", darker)
    with pytest.raises(AttackError, match="eps"):
        parse("darker:strength=2")(MODEL, IMAGES, LABELS)


def test_a_name_of_the_package_and_a_function_without_eps_are_refused():
    with pytest.raises(UsageError, match="pgd"):
        register("pgd", darker)
    with pytest.raises(UsageError, match="eps"):
        register("mine", lambda model, images, labels: images)


def test_a_file_is_run_only_where_a_text_names_a_function_in_it(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("def darker(model, images, labels, *, eps=0.1, times=1):\n    return images - eps * times\n")
    load_attack("pgd:eps=2/255")
    assert ATTACKS.keys() == dict(ATTACKS).keys()
    text = f"{file}:darker:eps=0.25"
    load_attack(text)
    spec = parse(text)
    assert torch.equal(spec(MODEL, IMAGES, LABELS), IMAGES - 0.25)
    assert str(spec) == text
    assert len(ATTACKS[spec.name].source) == 64
    assert parse(f"{file}:darker").eps == 0.1
    with pytest.raises(UsageError, match="lighter"):
        load_attack(f"{file}:lighter")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # foolbox imports an old name of scipy
def test_foolbox_attacks_run_as_a_users_attack(tmp_path: Path):
    file = tmp_path / "boxed.py"
    file.write_text(
        "import foolbox\n\n\n"
        "def fgsm(model, images, labels, *, eps=8 / 255):\n"
        "    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)\n"
        "    return foolbox.attacks.LinfFastGradientAttack()(wrapped, images, labels, epsilons=eps)[1]\n"
    )
    load_attack(f"{file}:fgsm")
    torch.manual_seed(0)
    images, labels = torch.rand(6, 1, 2, 2), torch.tensor([0, 1] * 3)
    found = parse(f"{file}:fgsm:eps=0.1")(MODEL, images, labels)
    torch.testing.assert_close(found, parse("fgsm:eps=0.1")(MODEL, images, labels))


def test_an_installed_package_offers_attacks_and_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = (
        "import torch\n\n\n"
        "def lighter(model, images, labels, *, eps=0.1):\n    return images + eps\n\n\n"
        "class Flat:\n    def __init__(self, height=1.0):\n        self.height = height\n\n"
        "    def __call__(self, z):\n        return torch.full_like(z, self.height)\n"
    )
    attacks = {"lighter": "lighter", "broken": "missing"}
    offer(tmp_path, monkeypatch, code, attacks=attacks, rules={"flat": "Flat"})
    assert set(plugins.offered("attacks")) >= {"lighter", "broken"}
    assert torch.equal(parse("lighter")(MODEL, IMAGES, LABELS), IMAGES + 0.1)
    assert rule_from_text("flat/height=2")(torch.zeros(3)).tolist() == [2, 2, 2]
    with pytest.raises(UsageError, match="lighter"):
        parse("brighter")
    with pytest.raises(UsageError, match="broken"):
        parse("broken")


@pytest.mark.parametrize("changed", ["mine.py", "helper.py"])
def test_work_of_an_audit_does_not_outlive_a_change_of_the_users_files(tmp_path: Path, changed: str):
    file, found = tmp_path / "mine.py", []
    (tmp_path / "helper.py").write_text("F = 1\n")
    attack = "import helper\n\n\ndef darker(model, images, labels, *, eps=0.1):\n    return helper.F * images - eps\n"
    file.write_text(attack)
    some = SimpleNamespace(weights="w", digest="d", source="s")
    for _ in range(2):
        load_attack(f"{file}:darker")
        config = AuditConfig(attacks=(f"{file}:darker",), paper={})
        found.append(_identity(some, some, some, config))  # type: ignore[arg-type]
        with (tmp_path / changed).open("a") as more:
            more.write("# changed\n")
    assert found[0] != found[1]


def raises(error: BaseException) -> Callable[..., Tensor]:
    def attack(model: object, images: Tensor, labels: Tensor, *, eps: float = 0.1) -> Tensor:
        raise error

    return attack


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises(SystemExit(0)), r"attack 'mine' failed: SystemExit: 0 \(--debug"),
        (raises(KeyError("x")), r"attack 'mine' failed: KeyError: 'x'"),
        (lambda model, images, labels, eps=0.1: None, "the attack returned NoneType; it must return a tensor"),
        (lambda model, images, labels, eps=0.1: images.numpy(), "the attack returned ndarray"),
        (raises(UsageError("eps is too small.")), "eps is too small"),
    ],
    ids=["exit", "key", "none", "numpy", "own"],
)
def test_an_attack_of_the_users_that_fails_is_a_sentence(function: Callable[..., Tensor], message: str) -> None:
    register("mine", function)
    with pytest.raises(HiresnnError, match=message):
        ATTACKS["mine"].run(MODEL, IMAGES, LABELS, eps=0.1)


def test_a_second_attack_of_a_name_replaces_the_first_and_has_its_own_default_bound():
    register("darker", lambda model, images, labels, *, eps=0.3: images)
    register("darker", darker)
    assert torch.equal(ATTACKS["darker"].run(MODEL, IMAGES, LABELS), IMAGES - 0.1)
