"""Combine the cards of several audits in one Markdown page: the paper's PGD beside the worst case, by bound.

    python benchmarks/audit_table.py runs/traditional/audit/card.json runs/hire/audit/card.json --out results/audit-cpu

Writes OUT.md, and each card beside it as OUT-METHOD.json, from which `hiresnn report` makes the page.
"""

import argparse
from collections import Counter
from pathlib import Path

from hiresnn.audit import Card
from hiresnn.audit.card import read_card
from hiresnn.progress import duration


def curve(cards: list[Card]) -> list[str]:
    heads = [f"{card.subject.name}: {what}" for card in cards for what in ("PGD", "worst case", "95 %")]
    lines = ["| bound | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for point in cards[0].curve:
        cells = []
        for card in cards:
            at = card.at(point.bound)
            cells += [
                f"{at.pgd.percent:.1f}",
                f"**{at.worst.percent:.1f}**",
                f"{at.worst.low:.1f} - {at.worst.high:.1f}",
            ]
        lines.append(f"| {'clean' if point.bound == '0' else point.bound} | " + " | ".join(cells) + " |")
    return lines


def winners(card: Card) -> str:
    """How many images each rule broke first, over all bounds."""
    rules: Counter[str] = Counter()
    for row in card.attacks:
        rules[row.rule or row.attack] += sum(row.broke.values())
    total = sum(rules.values())
    return ", ".join(f"{rule} {count}" for rule, count in rules.most_common() if count) + f", of {total}"


def screening(card: Card) -> list[str]:
    lines = [
        "| rule | PGD cross-entropy | PGD margin | zero gradients | rising | verdict |",
        "|---|---|---|---|---|---|",
    ]
    left = {(cell.rule, cell.attack): cell.standing.percent for cell in card.screening.cells}
    for rule in card.screening.rules:
        cells = [f"{left[rule.rule, f'PGD, {loss}']:.0f}" for loss in ("cross-entropy", "margin")]
        share = [f"{100 * value:.0f} %" for value in (rule.zero_gradients, rule.rising)]
        lines.append(f"| {rule.rule} | " + " | ".join([*cells, *share, rule.verdict]) + " |")
    return lines


def page(cards: list[Card], text: str) -> str:
    lines = ["# Audit of the cpu recipe: what HIRE-SNN's gain is worth under a strong attacker", ""]
    lines += [text, ""] if text else []
    lines += [*curve(cards), ""]
    for card in cards:
        budget = card.budget
        lines += [
            f"## {card.subject.name}",
            "",
            f"`{card.setting.command}`, preset {card.setting.preset}, seed {card.setting.seed}, "
            f"{card.data.images:,} images, {card.date[:10]}, {card.environment.get('cpu')}, "
            f"torch {card.environment.get('torch')}: {budget.forward:,} forward and {budget.backward:,} backward "
            f"passes in {duration(budget.seconds)}.",
            "",
            f"**{card.conclusion.headline}** Own gradient: {card.conclusion.own}. Reasons:",
            "",
            *(f"- {reason}" for reason in card.conclusion.reasons),
            "",
            f"Broken images, by the rule that broke them at their smallest bound: {winners(card)}.",
            "",
            f"Screening, {card.screening.images} images at {card.screening.bound}, accuracy left in percent:",
            "",
            *screening(card),
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="file name without ending")
    parser.add_argument("--text", type=Path, help="Markdown file to put above the table")
    options = parser.parse_args()
    cards = [read_card(path) for path in options.cards]
    written = options.out.with_name(f"{options.out.name}.md")
    written.write_text(page(cards, options.text.read_text().strip() if options.text else ""))
    for card in cards:
        path = options.out.parent / f"{options.out.name}-{card.subject.method or card.subject.name}.json"
        path.write_text(card.model_dump_json(indent=1) + "\n")
