"""Table 4: the five checks for obfuscated gradients on HIRE-SNN."""

from __future__ import annotations

from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.accuracy_tables import networks_of
from hiresnn.paper.checks import BUDGET, CHECKS, RULES, Accuracies, CheckResult, judge, verdict
from hiresnn.paper.claims import claims
from hiresnn.paper.labels import ATTACKS, left_out, network_labels, setting_notes, text
from hiresnn.paper.measurements import TWINS, Measurement, accuracy
from hiresnn.paper.page import Cell, Page, Table
from hiresnn.paper.scales import Scale

COLUMNS = ["model", "data set", "check", "paper", "by accuracies", "evidence", "image by image", "evidence, images"]


def table4_needs(scale: Scale) -> list[Measurement]:
    """What both ways of judging look at; most of it is shared with Tables 2 and 3 and with Fig. 8a."""
    networks = networks_of(scale, "table2")
    by_accuracy = [accuracy(network, "hire", text, box) for network in networks for text, box in _attacks(scale)]
    return [*by_accuracy, *map(_by_image, networks)]


def table4(values: Values) -> Page:
    """A row for each network and check; with several seeds a check passes if it passes for each of them."""
    scale = values.scale
    networks = networks_of(scale, "table2")
    rows: list[list[Cell]] = []
    apart: list[str] = []
    for network in networks:
        by_image = values.all(_by_image(network))
        results = {
            "by accuracies": [judge(accuracies(values, network, place)) for place in range(len(by_image))],
            "image by image": [[CheckResult(not each["yes"], each["evidence"]) for each in seed] for seed in by_image],
        }
        for place, (key, check) in enumerate(CHECKS.items()):
            paper = str(claims().table4[key])
            cells: list[Cell] = [*network_labels(network), check, paper]
            for way, each in results.items():
                found, evidence = verdict([seed[place] for seed in each])
                cells += [found, evidence]
                if found != paper:
                    apart.append(f"{' / '.join(network_labels(network))} {check.split()[0]} {way}")
            rows.append(cells)
    different = f"{len(apart)} of {2 * len(rows)}{': ' * bool(apart)}{'; '.join(apart)}"
    notes = [
        *setting_notes(scale, networks),
        *left_out(claims().table2, networks),
        f"By accuracies: {'; '.join(RULES)}.",
        text("table4.by_image", images=BUDGET[0], steps=BUDGET[1], queries=BUDGET[2], draws=BUDGET[3]),
        text("table4.sampling"),
        f"Verdicts that are not the paper's: {different}.",
    ]
    return Page([Table(text("table4.caption"), COLUMNS, rows)], notes=notes, networks=networks)


def accuracies(values: Values, network: str, place: int) -> Accuracies:
    """What the rules by accuracy look at, for one of the seeds."""
    scale = values.scale

    def left(text: str | None, box: str = "white") -> float:
        return float(values.all(accuracy(network, "hire", text, box))[place])

    return Accuracies(
        clean=left(None),
        white={attack: left(attack) for attack in ATTACKS},
        black={box: {attack: left(attack, box) for attack in ATTACKS} for box in TWINS},
        bounds=[(bound, left(f"pgd:eps={bound}")) for bound in scale.eps],
        unbounded=left("pgd:eps=1"),
        random=left(_noise(scale)),
    )


def _attacks(scale: Scale) -> list[tuple[str | None, str]]:
    """Attack and box of everything that `accuracies` reads."""
    white = [None, *ATTACKS, *(f"pgd:eps={bound}" for bound in scale.eps), "pgd:eps=1", _noise(scale)]
    return [*((text, "white") for text in white), *((attack, box) for box in TWINS for attack in ATTACKS)]


def _noise(scale: Scale) -> str:
    return f"noise:kind=uniform,draws={scale.random_draws}"


def _by_image(network: str) -> Measurement:
    return Measurement("gradient-checks", network, "hire", grid=BUDGET)
