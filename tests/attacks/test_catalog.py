"""Attacks as values and as text, and attacks that users add: registered, as a file, or by an installed package."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hiresnn.app.targets import load_attack
from hiresnn.attacks import ATTACKS, AttackSpec, fgsm, greedy, parse, pgd, register
from hiresnn.attacks.gate import LIMITS, options_of
from hiresnn.calls import Call, offered
from hiresnn.errors import AttackError, HiresnnError, UsageError
from hiresnn.neurons import LIF, Window, gradient_rule
from hiresnn.neurons.rules import BPTR, RULES, Arctan, Unrolled, rule_from_text

from ..offering import offer


class Neurons(nn.Module):
    """Two pixels, two LIF over three steps, two logits."""

    def __init__(self):
        super().__init__()
        self.lif = LIF(0.4, leak=0.5)

    def forward(self, images):
        pixels = images.flatten(1)
        spikes = self.lif(
            torch.stack([pixels[:, 0] + 0.5 * pixels[:, 1], pixels.sum(1)], 1), Window(3, len(images)), False
        )
        return spikes.view(3, len(images), 2).sum(0)


IMAGES, LABELS = torch.tensor([[0.1, 0.5], [0.6, 0.3]]).view(2, 1, 1, 2), torch.tensor([1, 0])


def test_a_name_alone_has_no_named_options_and_the_defaults_of_the_attack():
    spec = parse("fgsm")
    assert (spec.name, dict(spec.options), spec.rules, spec.eps) == ("fgsm", {}, (), 8 / 255)
    assert spec.resolved() == {"eps": 8 / 255, "draws": 1, "float32_loss": False, "rule": None}


def test_options_are_read_as_fractions_decimals_whole_numbers_and_truth_values():
    spec = parse("pgd(eps=0.5/255, step=1e-2, iterations=20, random_start=True)")
    assert spec.options == {"eps": 0.5 / 255, "step": 0.01, "iterations": 20, "random_start": True}
    assert parse("pgd:eps=0.5/255,step=1e-2,iterations=20,random_start=true") == spec
    assert parse("pgd(eps=0.5/255, alpha=1e-2, steps=20, random_start=true)") == spec
    assert parse("apgd(eot_samples=3)").options == {"draws": 3}
    with pytest.raises(UsageError, match=r"draws=N tries N perturbations"):
        parse("noise(eot_samples=3)")


def test_the_text_overrides_defaults_and_an_attack_ignores_defaults_it_does_not_have():
    assert parse("pgd(eps=0.5)", eps=0.1, step=0.2).options == {"eps": 0.5, "step": 0.2}
    assert parse("fgsm", eps=0.1, step=0.2, iterations=3).options == {"eps": 0.1}
    assert parse("pgd(alpha=0.1)", relative_step=0.5).options == {"step": 0.1}
    assert parse("pgd(relative_step=0.5)", step=0.1).options == {"relative_step": 0.5}


def test_an_unnamed_step_is_the_papers_share_of_eps_and_scales_with_it():
    for name in ("pgd", "pgd-restarts", "greedy"):
        assert parse(name).resolved()["step"] == 0.01
        assert parse(name).at(2 / 255).resolved() == parse(f"{name}(eps=2/255)").resolved()
        assert parse(f"{name}(eps=2/255)").resolved()["step"] == 0.0025
        assert parse(f"{name}(relative_step=1/4)").at(0.2).resolved()["step"] == 0.05
        assert parse(f"{name}(step=0.003)").at(0.2).resolved()["step"] == 0.003


def test_a_label_shows_eps_and_iterations_and_what_differs_from_the_defaults():
    assert parse("pgd").label == "pgd:eps=8/255,iterations=7"
    assert parse("fgsm:eps=0.1").label == "fgsm:eps=0.1"
    assert parse("square").label == "square:eps=8/255,queries=1000"
    label = "apgd:eps=8/255,iterations=100,loss=dlr,rule=arctan/alpha=4"
    assert parse("apgd(loss=dlr, rule=arctan(alpha=4))").label == label
    assert parse("sa-pgd", loss="cross-entropy").label == "sa-pgd:eps=8/255,iterations=100"


def test_a_spec_is_a_value_that_can_be_a_key_of_a_dictionary():
    one, other = parse("pgd:iterations=3,eps=0.1"), parse("pgd:eps=0.1,iterations=3")
    assert one == other
    assert len({one: 1, other: 2}) == 1


EPS = st.floats(0, 1) | st.integers(0, 255).map(lambda level: level / 255)


def values(name, option):
    """Values that an option takes."""
    if option.choices:
        return st.sampled_from(option.choices)
    low, high = LIMITS.get(name, (0, 1))
    if type(option.default) is int:
        return st.integers(low, min(high, 2**63 - 1))
    return EPS if name == "eps" else st.booleans() if option.default is False else st.floats(low, min(high, 10))


@st.composite
def rule_calls(draw):
    name = draw(st.sampled_from(sorted(RULES)))
    options = {}
    for key, default in RULES[name].options.items():
        if draw(st.booleans()):
            options[key] = draw(st.booleans() if isinstance(default, bool) else st.floats(0.1, 0.9))
    return Call(name, dict(draw(st.permutations(list(options.items())))))


@st.composite
def specs(draw):
    name = draw(st.sampled_from(sorted(ATTACKS)))
    info = ATTACKS[name]
    known = options_of(info.run)
    options = {key: draw(values(key, option)) for key, option in known.items() if draw(st.booleans())}
    if options.get("norm") == "l2":
        options["eps"] = draw(EPS)  # which L2 needs
    if "step" in known and "step" not in options and draw(st.booleans()):
        options["relative_step"] = draw(st.floats(0, 10))
    most = {"none": 0, "one": 1, "several": 3}[info.rules]
    return name, options, draw(st.lists(rule_calls(), max_size=most))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(specs(), EPS)
def test_every_spec_is_read_from_its_call_from_its_stored_text_and_from_its_label(parts, eps):
    name, options, rules = parts
    spec = AttackSpec(name, options, tuple(map(str, rules)))
    assert AttackSpec.parse(str(Call(name, {**options, **({"rule": rules} if rules else {})}))) == spec
    assert AttackSpec.parse(str(spec)) == spec
    assert AttackSpec.parse(spec.label).resolved() == spec.resolved()
    moved = spec.at(eps)
    assert moved.eps == eps
    assert {**moved.resolved(), "eps": 0, "step": 0} == {**spec.resolved(), "eps": 0, "step": 0}


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.text(max_size=40) | st.from_regex(r"(pgd|apgd|square|noise)[(:][a-z_]{1,10}=[0-9a-z./+()-]{0,9}", fullmatch=True)
)
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        spec = AttackSpec.parse(text)
    except UsageError:
        return
    assert AttackSpec.parse(str(spec)) == spec


def test_a_parsed_attack_runs_with_its_options():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    images, labels = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    found = parse("pgd(eps=0.1, step=0.05, iterations=2)")(model, images, labels)
    assert torch.equal(found, pgd(model, images, labels, eps=0.1, step=0.05, iterations=2))
    assert torch.equal(found, pgd(model, images, labels, eps=0.1, alpha=0.05, steps=2))
    assert torch.equal(parse("fgsm(eps=1/10)")(model, images, labels), fgsm(model, images, labels, eps=0.1))


def test_the_reset_flag_changes_the_gradient_that_an_attack_climbs():
    network = Neurons()
    with gradient_rule(network, Unrolled(Arctan(2), through_reset=True)):
        by_hand = pgd(network, IMAGES, LABELS, eps=0.3, step=0.1)
    assert torch.equal(
        parse("pgd(eps=0.3, step=0.1, rule=arctan(alpha=2, reset=True))")(network, IMAGES, LABELS), by_hand
    )
    assert not torch.equal(parse("pgd(eps=0.3, step=0.1, rule=arctan(alpha=2))")(network, IMAGES, LABELS), by_hand)


def test_greedy_takes_several_rules():
    network, options = Neurons(), {"eps": 0.3, "step": 0.05, "iterations": 3}
    spec = parse("greedy(eps=0.3, step=0.05, iterations=3, rule=[arctan(alpha=4, cut=True), bptr])")
    assert parse("greedy:eps=0.3,step=0.05,iterations=3,rule=arctan/alpha=4e+0/cut+bptr") == spec
    assert (spec.options, spec.rules) == (options, ("arctan/alpha=4/cut", "bptr"))
    rules = [Unrolled(Arctan(4), cut_time=True), BPTR()]
    assert torch.equal(spec(network, IMAGES, LABELS), greedy(network, IMAGES, LABELS, rules=rules, **options))


def test_a_spec_built_by_hand_is_checked_like_a_text():
    with pytest.raises(UsageError, match="rule 'arctangent' is not known"):
        AttackSpec("pgd", rules=("arctangent",))
    with pytest.raises(UsageError, match=r"iterations is 2\.5"):
        AttackSpec("pgd", {"iterations": 2.5})
    with pytest.raises(UsageError, match="random_start is 1"):
        AttackSpec("pgd", {"random_start": 1})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("cw", "attack 'cw' is not known; choose one of fgsm, pgd"),
        ("", "attack '' is not known"),
        ("pgd,eps=8/255", r"write options in parentheses, as in pgd\(eps=8/255\)"),
        (
            "fgsm(steps=3)",
            "attack 'fgsm': fgsm has no option 'steps'; did you mean .eps.. it has eps, norm, draws, float32_loss",
        ),
        ("pgd(generator=1)", "pgd has no option 'generator'; .*it has eps, norm, step, relative_step, iterations"),
        ("pgd(eps=nan)", "eps: 'nan' does not lie"),
        ("pgd:eps=8", "did you mean 8/255"),
        ("pgd(steps=3, iterations=4)", "iterations is given twice"),
        ("pgd(step=0.1, relative_step=0.2)", "step and relative_step"),
        ("pgd:iterations=2.5", "iterations is 2.5; write a whole number"),
        ("pgd(random_start=yes)", "random_start is 'yes'; write True or False"),
        ("apgd(loss=dlt)", r"loss is 'dlt'; did you mean .dlr.\? choose one of cross-entropy, margin, dlr, dlr-targ"),
        ("pgd(rule=arctan(k=4))", r"rule 'arctan\(k=4\)': arctan has no option 'k'"),
        ("pgd(rule=3)", "rule '3' is not known"),
        ("pgd(rule=[arctan, bptr])", "takes one of the 2 rules .*; use greedy for several"),
        ("greedy:rule=arctan+", "rule '' is not known"),
        ("greedy(rules=arctan)", "greedy has no option 'rules'; did you mean .rule.. it has"),
        ("square(rule=arctan)", "square has no option 'rule'; .*it has eps, norm, queries, area"),
    ],
)
def test_a_text_that_is_no_attack_is_refused(text, word):
    with pytest.raises(UsageError, match=word) as refused:
        parse(text)
    assert len(str(refused.value)) < 500


def test_the_table_of_attacks_has_a_summary_and_defaults_for_every_option():
    for name, info in ATTACKS.items():
        assert info.summary.endswith("."), name
        assert "eps" in info.options
    assert ATTACKS["square"].usage == "eps=8/255, norm=linf, queries=1000, area=0.8"
    assert ATTACKS["pgd"].usage.startswith("eps=8/255, norm=linf, step=0.31875*eps, iterations=7, random_start=False")
    assert ATTACKS["greedy"].usage.endswith("rule=[NAME, NAME]")


GREY, TWO = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def darker(model, images, labels, *, eps=0.1, strength=1.0, steps=1, twice=False, generator=None):
    """Make every pixel darker.

    More text.
    """
    return images - eps * strength * steps * (1 + twice)


@pytest.fixture(autouse=True)
def clean_tables():
    attacks, rules = dict(ATTACKS), dict(RULES)
    yield
    for table, entries in ((ATTACKS, attacks), (RULES, rules)):
        table.clear()
        table.update(entries)


def test_a_registered_attack_has_its_numbers_and_switches_as_options():
    register("darker", darker)
    assert ATTACKS["darker"].options == {"eps": 0.1, "strength": 1.0, "steps": 1, "twice": False}
    assert ATTACKS["darker"].summary == "Make every pixel darker."
    spec = parse("darker(strength=0.25, twice=True)")
    assert torch.equal(spec(MODEL, GREY, TWO), GREY - 0.1 * 0.25 * 2)
    assert torch.equal(spec.at(0.2)(MODEL, GREY, TWO), GREY - 0.2 * 0.25 * 2)
    assert AttackSpec.parse(str(spec)) == spec


def test_what_a_user_registers_and_its_options_and_results_are_checked():
    register("darker", lambda model, images, labels, *, eps=0.3: images)
    register("darker", darker)  # replaces the first
    assert torch.equal(ATTACKS["darker"].run(MODEL, GREY, TWO), GREY - 0.1)
    for options in ("steps=1.5", "strength=nan", "twice=2", "generator=1"):
        with pytest.raises(UsageError, match=options.partition("=")[0]):
            parse(f"darker({options})")
    with pytest.raises(AttackError, match=r"attack 'darker': the attack moved a pixel by 0\.2"):
        parse("darker(strength=2)")(MODEL, GREY, TWO)
    with pytest.raises(UsageError, match="pgd"):
        register("pgd", darker)
    with pytest.raises(UsageError, match="eps"):
        register("mine", lambda model, images, labels: images)


def test_a_file_is_run_only_where_a_text_names_a_function_in_it(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def darker(model, images, labels, *, eps=0.1, times=1):\n    return images - eps * times\n")
    load_attack("pgd(eps=2/255)")
    assert not [name for name in ATTACKS if ":" in name]
    text = f"{file}:darker(eps=0.25)"
    load_attack(text)
    spec = parse(text)
    assert torch.equal(spec(MODEL, GREY, TWO), GREY - 0.25)
    assert parse(str(spec)) == parse(f"{file}:darker:eps=0.25") == spec
    assert len(ATTACKS[spec.name].source) == 64
    assert parse(f"{file}:darker").eps == 0.1
    with pytest.raises(UsageError, match="lighter"):
        load_attack(f"{file}:lighter")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # foolbox imports an old name of scipy
def test_foolbox_attacks_run_as_a_users_attack(tmp_path):
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


def test_an_installed_package_offers_attacks_and_rules(tmp_path, monkeypatch):
    code = (
        "import torch\n\n\n"
        "def lighter(model, images, labels, *, eps=0.1):\n    return images + eps\n\n\n"
        "class Flat:\n    def __init__(self, height=1.0):\n        self.height = height\n\n"
        "    def __call__(self, z):\n        return torch.full_like(z, self.height)\n"
    )
    attacks = {"lighter": "lighter", "broken": "missing"}
    offer(tmp_path, monkeypatch, code, attacks=attacks, rules={"flat": "Flat"})
    assert set(offered("attacks")) >= {"lighter", "broken"}
    assert torch.equal(parse("lighter")(MODEL, GREY, TWO), GREY + 0.1)
    assert rule_from_text("flat(height=2)")(torch.zeros(3)).tolist() == [2, 2, 2]
    with pytest.raises(UsageError, match="lighter"):
        parse("brighter")
    with pytest.raises(UsageError, match="broken"):
        parse("broken")


def raises(error):
    def attack(model, images, labels, *, eps=0.1):
        raise error

    return attack


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises(SystemExit(0)), r"attack 'mine': the attack ended the program: SystemExit: 0 \(--debug"),
        (raises(KeyError("x")), r"attack 'mine': the attack failed: KeyError: 'x'"),
        (lambda model, images, labels, eps=0.1: None, "the attack returned NoneType; it must return a tensor"),
        (lambda model, images, labels, eps=0.1: images.numpy(), "the attack returned ndarray"),
        (raises(UsageError("eps is too small.")), "eps is too small"),
    ],
    ids=["exit", "key", "none", "numpy", "own"],
)
def test_an_attack_of_the_users_that_fails_is_a_sentence(function, message):
    register("mine", function)
    with pytest.raises(HiresnnError, match=message):
        ATTACKS["mine"].run(MODEL, GREY, TWO, eps=0.1)
