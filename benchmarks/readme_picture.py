"""Draw the picture of the README: what plain PGD says about each network, and what an audit leaves of it.

python benchmarks/readme_picture.py "HIRE-SNN=runs/hire/audit/card.json" runs/traditional/audit/card.json -o picture.svg
"""

import argparse
import sys
from pathlib import Path

from markupsafe import Markup

from hiresnn.audit.card import Card, Point, Share
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.files import write_atomically
from hiresnn.report import read_card
from hiresnn.report.charts import DARK, LIGHT, variables

WIDTH, LEFT, RIGHT = 800, 150, 570
HEAD, GROUP, BAR, GAP = 92, 126, 20, 6

STYLE = f"""
svg {{ {variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ svg {{ {variables(DARK)} }} }}
text {{ font: 15px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--ink); }}
.title {{ font-size: 20px; font-weight: 650; }}
.name {{ font-size: 16px; font-weight: 650; }}
.muted {{ fill: var(--muted); }}
.small {{ font-size: 13px; font-weight: 400; }}
.value {{ font-weight: 650; }}
.ground {{ fill: var(--surface); stroke: var(--rule); }}
.clean {{ fill: var(--series-3); opacity: .55; }}
.pgd {{ fill: var(--series-1); }}
.worst {{ fill: var(--series-0); }}
#hatch rect {{ fill: var(--surface); }}
#hatch path {{ stroke: var(--series-1); stroke-width: 2; }}
.excess {{ fill: url(#hatch); stroke: var(--series-1); }}
.note {{ fill: var(--series-1); }}
.whisker {{ stroke: var(--ink); stroke-width: 1.5; fill: none; }}
.grid {{ stroke: var(--rule); }}
"""


Row = tuple[str, Card, Point]
"""Name of the network, its card, and the point of the curve to draw."""


def picture(rows: list[Row]) -> str:
    """The picture as SVG, 800 units wide."""
    height = HEAD + GROUP * len(rows) + 44
    bottom = height - 40
    parts = [
        Markup('<line class="grid" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(HEAD - 12, bottom, x=_x(tick))
        + Markup('<text class="small muted" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _x(tick), bottom + 20, f"{tick} %" if tick == 100 else tick
        )
        for tick in (0, 25, 50, 75, 100)
    ]
    parts += [_group(row, HEAD + GROUP * number) for number, row in enumerate(rows)]
    description = "; ".join(
        f"{name}: clean {card.clean.percent:.1f}, PGD {point.pgd.percent:.1f}, worst case {point.worst.percent:.1f} %"
        for name, card, point in rows
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="t d"><title id="t">{title}</title><desc id="d">{description}</desc><style>{style}</style>'
        '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse">'
        '<rect width="7" height="7"/><path d="M-1,1L1,-1M0,7L7,0M6,8L8,6"/></pattern></defs>'
        '<rect class="ground" x=".5" y=".5" width="{rw}" height="{rh}" rx="10"/>'
        '<text class="title" x="24" y="36">{title}</text>'
        '<text class="small muted" x="24" y="58">Accuracy on test images. Hatched: robustness that only a weak attack '
        "shows. Whiskers: 95 % intervals.</text>{parts}</svg>\n"
    ).format(
        w=WIDTH, h=height, rw=WIDTH - 1, rh=height - 1, title="What plain PGD says, and what an audit leaves",
        description=description, style=Markup(STYLE), parts=Markup("").join(parts),
    )  # fmt: skip


def _group(row: Row, top: int) -> Markup:
    name, card, point = row
    about = f"{card.data.name}, {card.data.images:,} images, each pixel ±{point.bound}"
    parts = [
        Markup('<text class="name" x="24" y="{}">{}<tspan class="small muted" dx="10">{}</tspan></text>').format(
            top + 10, name, about
        )
    ]
    bars: list[tuple[str, str, Share]] = [
        ("clean", "clean", card.clean),
        ("plain PGD says", "pgd", point.pgd),
        ("worst case", "worst", point.worst),
    ]
    for number, (label, kind, share) in enumerate(bars):
        y = top + 22 + number * (BAR + GAP)
        solid = min(share.percent, point.worst.percent) if kind == "pgd" else share.percent
        parts.append(_bar(kind, y, 0, solid))
        excess = share.percent - solid
        if excess > 0:
            parts.append(_bar("excess", y, solid, share.percent))
        low, high, middle = _x(share.low), _x(share.high), y + BAR / 2
        parts.append(
            Markup('<path class="whisker" d="M{l},{m}H{h}M{l},{a}v8M{h},{a}v8"/>').format(
                l=low, h=high, m=middle, a=middle - 4
            )
        )
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 12, y + 15, label))
        note = f"{excess:.1f} points too high" if excess > 0 else ""
        parts.append(
            Markup('<text class="value" x="{}" y="{}">{} %<tspan class="small note" dx="10">{}</tspan></text>').format(
                max(high, _x(share.percent)) + 10, y + 15, f"{share.percent:.1f}", note
            )
        )
    return Markup("").join(parts)


def _bar(kind: str, y: float, start: float, end: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, _x(start), y, round(_x(end) - _x(start), 2), BAR
    )


def _x(percent: float) -> float:
    return round(LEFT + percent / 100 * (RIGHT - LEFT), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cards", nargs="+", metavar="[NAME=]CARD.json", help="cards of hiresnn audit, from top to bottom"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("picture.svg"), metavar="FILE.svg")
    parser.add_argument("--bound", help="a bound of the curves; the default is the headline of each card")
    options = parser.parse_args()
    try:
        rows: list[Row] = []
        for text in options.cards:
            name, _, path = text.rpartition("=")
            card = read_card(Path(path))
            points = {point.bound: point for point in card.curve}
            bound = options.bound or card.setting.headline
            if bound not in points:
                raise UsageError(f"{path} has no bound {bound}; choose one of {', '.join(points)}.")
            rows.append((name or card.subject.name, card, points[bound]))
        write_atomically(options.out, picture(rows).encode())
    except HiresnnError as error:
        sys.exit(f"error: {error}")
    print(f"Wrote {options.out}.")


if __name__ == "__main__":
    main()
