"""Numbers and names as the pages write them. A value that was not measured is a dash, never 0."""

import json
import re
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

from hiresnn.calls import L2

MISSING, UNBOUNDED = "–", "inf"
LONGEST = 300  # characters of a setting


def percent(value: float | None) -> str:
    """One decimal without the percent sign, such as 3.5. Rounding never leaves "-0.0"."""
    return MISSING if value is None else f"{round(value, 1) + 0.0:.1f}"


def interval(low: float, high: float) -> str:
    """An interval in percent, such as 1.7–7.0."""
    return f"{percent(low)}–{percent(high)}"


def change(value: float, digits: int = 1) -> str:
    """A difference with its sign: +37.5, 0.0, −0.5 (with a minus sign as wide as the plus)."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def bound(label: str) -> str:
    """A bound in prose and table headings."""
    return "no bound" if label == UNBOUNDED else label


def ticks(labels: list[str]) -> tuple[list[str], str]:
    """Short names of bounds for an axis, and the label of the axis, which holds the unit if all bounds share it."""
    in_l2 = [label.startswith(L2) for label in labels if label not in ("0", UNBOUNDED)]
    shared = not any(in_l2) and all(label.endswith("/255") or label in ("0", UNBOUNDED) for label in labels)
    short = ["∞" if label == UNBOUNDED else label.removesuffix("/255") if shared else label for label in labels]
    if any(in_l2):
        return (short, "bound") if not all(in_l2) else ([label.removeprefix(L2) for label in short], "bound in L2")
    return short, "bound on each pixel (L∞), in 1/255" if shared else "bound on each pixel (L∞)"


def breakable(text: str) -> Markup:
    """A name, escaped, that may wrap after its commas and colons."""
    return Markup("<wbr>").join(re.split(r"(?<=[,:])", text))


NAMES = {
    "fgsm": "FGSM", "pgd": "PGD", "pgd-restarts": "PGD with restarts", "apgd": "APGD", "sa-pgd": "SA-PGD",
    "square": "Square search", "noise": "random noise", "greedy": "greedy PGD", "autoattack": "AutoAttack",
    "momentum": "momentum PGD",
}  # fmt: skip
RULE_NAMES = {"assg": "ASSG", "bptr": "BPTR", "rga": "RGA", "hart": "HART", "pdsg": "PDSG"}
PAPER = {"fgsm": "the paper's FGSM", "pgd": "the paper's PGD"}  # with no option, as the protocol of an audit names them
UNITS = {"iterations": "steps", "restarts": "starts", "queries": "queries", "draws": "draws", "targets": "targets"}
LOSSES = {"dlr": "DLR", "dlr-targeted": "targeted DLR", "margin": "margin", "cross-entropy": "cross-entropy"}


def attack(label: str) -> str:
    """An attack as one says it, such as "SA-PGD of 100 steps under ASSG"; a label of another attack as it is.

    >>> attack("sa-pgd:iterations=100,loss=dlr,finish=100,rule=assg/start=1")
    'SA-PGD of 100 steps under ASSG (start=1), DLR loss, then a Square search of 100 queries'
    """
    if label in PAPER:
        return PAPER[label]
    name, _, rest = label.removesuffix(" (added)").partition(":")
    if name not in NAMES:
        return label
    options = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    rules = []
    for rule in filter(None, options.pop("rule", "").split("+")):
        head, _, detail = rule.partition("/")
        rules.append(RULE_NAMES.get(head, head) + (f" ({detail})" if detail else ""))
    length = [f" of {options.pop(option)} {UNITS[option]}" for option in ("iterations", "queries") if option in options]
    said = [NAMES[name] + "".join(length) + (f" under {' and '.join(rules)}" if rules else "")]
    finish = options.pop("finish", "")
    for option, value in options.items():
        unit = UNITS.get(option)
        switch = option.replace("_", " ") if value == "true" else f"{option} {value}"
        other = f"{LOSSES.get(value, value)} loss" if option == "loss" else switch
        other = f"later starts on one image in {value}" if option == "narrow" else other
        said.append(f"{value} {unit[:-1] if value == '1' else unit}" if unit else other)
    said += [f"then a Square search of {finish} queries"] if finish else []
    return ", ".join(said) + (" (added)" if label.endswith(" (added)") else "")


def in_words(text: str, rows: Iterable[Any], form: str = "{said}") -> str:
    """A sentence in which each attack of `rows` is said; `form` may hold its exact label, too."""
    labels = [row.label for row in rows if ":" in row.label and attack(row.label) != row.label]
    longest_first = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    if not labels:
        return text
    return re.sub(longest_first, lambda match: form.format(said=attack(match[0]), label=match[0]), text)


def with_labels(text: str, rows: Iterable[Any]) -> Markup:
    """The same as HTML, with the exact label of each attack on hover."""
    return Markup(in_words(escape(text), rows, '<span title="{label}">{said}</span>'))


def number(value: float | None) -> str:
    """Up to four digits: 0.4608, 1.884, 12.5, 1,234, 1e+308."""
    return MISSING if value is None else f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def plain(value: Any) -> str:
    """A setting as its file writes it: text as it is, None as a dash, everything else as JSON; long ones are cut."""
    if value is None:
        return MISSING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
