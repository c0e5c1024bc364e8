import pytest
import torch
from torch import nn

from hiresnn.attacks import fgsm, parse, pgd
from hiresnn.errors import UsageError


def test_a_name_alone_takes_the_defaults_of_the_attack():
    spec = parse("fgsm")
    assert (spec.label, spec.name, spec.options, spec.eps) == ("fgsm", "fgsm", {}, 8 / 255)


def test_options_are_read_as_fractions_decimals_whole_numbers_and_truths():
    spec = parse("pgd:eps=2/255,step=1e-2,iterations=20,random_start=True")
    assert spec.label == "pgd:eps=2/255,step=1e-2,iterations=20,random_start=True"
    assert spec.options == {"eps": 2 / 255, "step": 0.01, "iterations": 20, "random_start": True}
    assert spec.eps == 2 / 255
    assert parse("pgd:random_start=false").options == {"random_start": False}


def test_the_text_overrides_defaults_and_an_attack_takes_those_it_knows():
    assert parse("pgd:eps=0.5", eps=0.1, step=0.2).options == {"eps": 0.5, "step": 0.2}
    assert parse("fgsm", eps=0.1, step=0.2, iterations=3).options == {"eps": 0.1}


def test_a_parsed_attack_runs_with_its_options():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    images, labels = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    found = parse("pgd:eps=0.1,step=0.05,iterations=2")(model, images, labels)
    assert torch.equal(found, pgd(model, images, labels, eps=0.1, step=0.05, iterations=2))
    assert torch.equal(parse("fgsm:eps=1/10")(model, images, labels), fgsm(model, images, labels, eps=0.1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cw", "attack 'cw' is not known; choose one of fgsm, pgd"),
        ("", "attack '' is not known"),
        ("fgsm:steps=3", "attack 'fgsm:steps=3': fgsm has no option 'steps'; it has eps"),
        ("pgd:generator=1", "pgd has no option 'generator'; it has eps, step, iterations, random_start"),
        ("pgd:eps=8/x", "attack 'pgd:eps=8/x': eps is '8/x'; it takes a float"),
        ("pgd:eps=8/0", "eps is '8/0'"),
        ("pgd:eps=nan", "eps is 'nan'"),
        ("pgd:eps", "eps is ''; it takes a float"),
        ("pgd:iterations=2.5", "iterations is '2.5'; it takes a int"),
        ("pgd:random_start=yes", "random_start is 'yes'; it takes a bool"),
    ],
)
def test_what_does_not_parse_is_told(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)
