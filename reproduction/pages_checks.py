"""Table 4: five checks for obfuscated gradients, each decided by numbers, in two ways.

By accuracies, as sec. 5.3 of the paper argues, with one rule per check; and image by image, with the questions of
`hiresnn audit` (Athalye et al. 2018), where a yes means that the check fails.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from reproduction.page import Cell, Claim, Page, Table, verdict
from reproduction.paper import ATTACKS, CLAIMS, TWINS, Scale, left_out, network_label, network_labels, section, text
from reproduction.results import Results, accuracy
from reproduction.study import Measurement

SLACK = 1.0  # percentage points within which two accuracies count as equal in checks (iii) and (iv)
BUDGET = (50, 20, 200, 100)
"""Largest number of images, PGD iterations, queries of Square, draws of noise, for the checks image by image."""
CHECKS: dict[str, str] = section("table4.checks")  # name of a check in claims.toml -> what a network must not show
RULES = tuple(rule.format(slack=SLACK) for rule in section("table4.rules").values())
"""By accuracies, in the order of CHECKS."""
COLUMNS = ["model", "data set", "check", "paper", "by accuracies", "evidence", "image by image", "evidence, images"]

Left = Mapping[tuple[str | None, str], float]
"""Attack and box, as in `_attacks` -> the accuracy that is left, in percent."""
Result = tuple[bool, str]  # whether one check passed, and the numbers that decided


def judge(left: Left, scale: Scale) -> list[Result]:
    """The five checks by accuracies, in the order of CHECKS, each by its rule in RULES."""
    fgsm, pgd = left["fgsm", "white"], left["pgd", "white"]
    unbounded, random = left["pgd:eps=1", "white"], left[_noise(scale), "white"]
    return [
        (pgd < fgsm, f"FGSM leaves {fgsm:.1f} %, PGD {pgd:.1f} %"),
        _black_box(left),
        _bound(left, scale),
        (unbounded <= SLACK, f"PGD without a bound leaves {unbounded:.1f} %"),
        (random > pgd, f"random draws leave {random:.1f} %, PGD {pgd:.1f} %"),
    ]


def _black_box(left: Left) -> Result:
    passed, evidence = True, []
    for attack in ATTACKS:
        white, black = left[attack, "white"], {twin: left[attack, twin] for twin in TWINS}
        passed &= all(percent >= white for percent in black.values())
        twins = ", ".join(f"{percent:.1f} % made on the {twin} twin" for twin, percent in black.items())
        evidence.append(f"{attack.upper()} leaves {white:.1f} % made on itself, {twins}")
    return passed, "; ".join(evidence)


def _bound(left: Left, scale: Scale) -> Result:
    percent = {"0": left[None, "white"], **{bound: left[f"pgd:eps={bound}", "white"] for bound in scale.eps}}
    clean, *attacked = percent.values()
    lowest = accumulate(percent.values(), min)
    rose = any(after > least + SLACK for least, after in zip(lowest, attacked, strict=False))
    evidence = ", ".join(f"{value:.1f} % at {bound}" for bound, value in percent.items())
    return not rose and attacked[-1] < clean, f"PGD leaves {evidence}"


def over_seeds(results: Sequence[Result]) -> tuple[str, str]:
    """(verdict, evidence) of the first seed that fails or otherwise of the first; the evidence names it."""
    failed = [seed for seed, result in enumerate(results) if not result[0]]
    seed = failed[0] if failed else 0
    evidence = f"seed {seed}: {results[seed][1]}"
    if not failed:
        return "pass", evidence
    return ("fail" if len(results) == 1 else f"fail in {len(failed)} of {len(results)} seeds"), evidence


def table4(results: Results) -> Page:
    """A row for each network and check; with several seeds a check passes if it passes for each of them."""
    scale, networks = results.scale, results.scale.some(CLAIMS["table2"])
    attacks = _attacks(scale)
    measured = {
        network: [*(accuracy(network, "hire", *attack) for attack in attacks), _by_image(network)]
        for network in networks
    }
    values = iter(results.all(*(one for ones in measured.values() for one in ones)))
    rows: list[list[Cell]] = []
    claims: list[Claim] = []
    for network in networks:
        *left, by_image = [next(values) for _ in measured[network]]
        ways = {
            "by accuracies": [judge(dict(zip(attacks, seed, strict=True)), scale) for seed in zip(*left, strict=True)],
            "image by image": [[(not check["yes"], check["evidence"]) for check in seed] for seed in by_image],
        }
        for number, (key, check) in enumerate(CHECKS.items()):
            verdicts = [cell for seeds in ways.values() for cell in over_seeds([seed[number] for seed in seeds])]
            rows.append([*network_labels(network), check, str(CLAIMS["table4"][key]), *verdicts])
        claims += [_passes(network, way, seeds) for way, seeds in ways.items()]
    notes = [
        *scale.setting_notes(networks, rated=False),
        *left_out(CLAIMS["table2"], networks),
        f"By accuracies: {'; '.join(RULES)}.",
        text("table4.by_image", images=BUDGET[0], steps=BUDGET[1], queries=BUDGET[2], draws=BUDGET[3]),
        text("table4.sampling"),
    ]
    return Page([Table(text("table4.caption"), COLUMNS, rows)], None, notes, networks, claims)


def _passes(network: str, way: str, seeds: Sequence[Sequence[Result]]) -> Claim:
    """The claim that a network passes all five checks, in one of the two ways."""
    names = [check.split()[0] for check in CHECKS.values()]
    failed = [name for number, name in enumerate(names) if not all(seed[number][0] for seed in seeds)]
    numbers = f"fails {', '.join(failed)}" if failed else f"passes all five with {len(seeds)} seed(s)"
    return Claim(text("table4.claim"), verdict(not failed), numbers, f"{network_label(network)}, {way}", "sec. 5.3")


def _attacks(scale: Scale) -> list[tuple[str | None, str]]:
    """Attack and box of everything that `judge` reads: both twins at every scale, as image by image."""
    white = [None, *ATTACKS, *(f"pgd:eps={bound}" for bound in scale.eps), "pgd:eps=1", _noise(scale)]
    return [*((attack, "white") for attack in white), *((attack, box) for box in TWINS for attack in ATTACKS)]


def _noise(scale: Scale) -> str:
    return f"noise:kind=uniform,draws={scale.random_draws}"


def _by_image(network: str) -> Measurement:
    return Measurement("gradient-checks", network, "hire", grid=BUDGET)
