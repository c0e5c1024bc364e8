"""The printed numbers: complete, as the paper has them, and consistent with each other."""

import pytest

from hiresnn.analysis import PRICES
from reproduction.claims import claims, printed

NETWORKS = ["vgg5-cifar10", "resnet12-cifar10", "vgg11-cifar100", "resnet12-cifar100"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # Read off the paper's pages, table by table: first, last and odd ones.
        ("table1/vgg5-cifar10/ann/white/fgsm", 13.3),
        ("table1/vgg5-cifar10/rate/black/pgd", 16.0),
        ("table1/resnet12-cifar10/traditional/white/pgd", 0.2),
        ("table1/vgg11-cifar100/rate/clean", 64.4),
        ("table1/vgg11-cifar100/ann/black/pgd", 15.3),
        ("table1/resnet12-cifar100/traditional/black/fgsm", 14.1),
        ("table2/resnet12-cifar100/clean_change", -3.0),
        ("table2/vgg11-cifar100/over_ann/pgd", -0.7),
        ("table2/resnet12-cifar10/hire/fgsm", 33.3),
        ("table3/vgg5-cifar10/hire/pgd", 14.9),
        ("table3/resnet12-cifar10/over_traditional/fgsm", 13.7),
        ("table5/vgg5-cifar10/hire/black/fgsm", 46.2),
        ("table5/vgg5-cifar10/traditional/clean", 87.2),
        ("table7/int32/mac", 3.2),
        ("fig9/black/gain_max", 9.7),
        ("fig10a/latency_gain_max", 25.0),
        ("fig11b/over_ann", 53.0),
    ],
)
def test_numbers_are_the_papers(path: str, value: float) -> None:
    assert printed(*path.split("/")) == value


def test_tables_1_to_3_have_every_network_and_cell() -> None:
    for table in ("table1", "table2", "table3"):
        assert list(claims()[table]) == NETWORKS
    for network in NETWORKS:
        methods = ["ann", "rate", "traditional"] if "vgg" in network else ["ann", "traditional"]
        assert list(claims().table1[network]) == methods
        for method in methods:
            for box in ("white", "black"):
                assert set(claims().table1[network][method][box]) == {"fgsm", "pgd"}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("table", "box"), [("table2", "white"), ("table3", "black")])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_printed_gains_are_the_differences_of_the_printed_accuracies(
    network: str, table: str, box: str, attack: str
) -> None:
    """Two transcriptions of the paper check each other; it rounds, and prints 24.7 as 25."""
    ours = claims()[table][network].hire[attack]
    for other in ("traditional", "ann"):
        gain = ours - claims().table1[network][other][box][attack]
        assert gain == pytest.approx(claims()[table][network][f"over_{other}"][attack], abs=0.31)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_clean_change_is_that_over_traditional_training(network: str) -> None:
    change = claims().table2[network].hire.clean - claims().table1[network].traditional.clean
    # It rounds before or after: VGG11's 65.1 - 65.6 is printed as -0.4.
    assert change == pytest.approx(claims().table2[network].clean_change, abs=0.11)
    assert claims().table3[network].hire.clean == claims().table2[network].hire.clean


def test_the_headline_is_the_largest_gain_of_the_tables() -> None:
    for table, box in (("table2", "white"), ("table3", "black")):
        for dataset in ("cifar10", "cifar100"):
            gains = [claims()[table][name].over_traditional.fgsm for name in NETWORKS if name.endswith(f"-{dataset}")]
            assert max(gains) == claims().headline[box][dataset]


def test_the_smallest_gains_are_those_of_the_tables() -> None:
    said = claims().headline
    gains = {t: [g for n in NETWORKS for g in claims()[t][n].over_traditional.values()] for t in ("table2", "table3")}
    assert (said.white_smallest, said.black_smallest.traditional) == (min(gains["table2"]), min(gains["table3"]))
    assert said.pgd == max(claims().table3[name].over_traditional.pgd for name in NETWORKS)
    assert said.over_ann == max(gain for name in NETWORKS for gain in claims().table2[name].over_ann.values())
    assert said.black_smallest.ann == min(gain for name in NETWORKS for gain in claims().table3[name].over_ann.values())
    frozen, trained = claims().table5["vgg5-cifar10"], claims()
    boxes = [(box, attack) for box in ("white", "black") for attack in ("fgsm", "pgd")]
    over = [frozen.hire[box][attack] - frozen.traditional[box][attack] for box, attack in boxes]
    table = {"white": trained.table2, "black": trained.table3}
    more = [frozen.hire[box][attack] - table[box]["vgg5-cifar10"].hire[attack] for box, attack in boxes]
    assert said.frozen_smallest.traditional == pytest.approx(min(over))
    assert said.frozen_smallest.trained == pytest.approx(min(more))


def test_prices_are_those_that_energies_are_computed_with() -> None:
    for kind, prices in PRICES.items():
        said = claims().table7[kind]
        assert (prices.mac, prices.ac) == pytest.approx((said.mac, said.ac))
        assert said.mac == pytest.approx(said.mult + said.add)


def test_what_is_not_printed_is_none_and_a_misspelt_name_says_what_there_is() -> None:
    assert printed("table1", "resnet12-cifar10", "rate", "white", "fgsm") is None
    assert printed("table1", "vgg5-cifar10", "ann") is None  # a section is no number
    with pytest.raises(AttributeError, match=r"claims\.fig7 has no 'time'; it has batches"):
        _ = claims().fig7.time
