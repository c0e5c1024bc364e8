"""A card such as an audit of a small run writes, with numbers that hang together, and run folders."""

import base64
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hiresnn.app.recipe import dump, override, read
from hiresnn.audit.card import (
    AttackRow,
    Budget,
    Card,
    Cell,
    Check,
    Conclusion,
    Images,
    Layer,
    Picture,
    Point,
    Question,
    RuleReport,
    Screening,
    Setting,
    Subject,
    share,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
OF = 200
BOUNDS = ["0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "inf"]
WORST = [196, 188, 177, 151, 96, 17, 3, 0, 0]
PGD = [196, 190, 183, 168, 131, 82, 30, 9, 7]
FGSM = [196, 191, 185, 174, 147, 110, 71, 48, 41]
NOISE = [196, 196, 196, 195, 194, 192, 183, 102, 61]
RULES = [
    "assg", "arctan", "pdsg", "sigmoid:k=2", "rga", "linear:width=2", "bptr", "conversion",
    "linear", "exponential", "erfc", "rectangular", "straight-through", "hart:width=0.5", "triangular:width=0.25",
]  # fmt: skip
SCOUTS = ["fgsm", "pgd", "apgd:loss=dlr", "sa-pgd"]
CONTROLS = ["uniform", "sign"]
QUESTIONS = [
    "one step beats many", "black box beats white box", "a larger bound does not help",
    "unbounded stays below 100 %", "random search beats gradients",
]  # fmt: skip


def png(seed: int, size: int = 32) -> str:
    image = Image.frombytes("RGB", (size, size), random.Random(seed).randbytes(3 * size * size))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def attack_rows() -> list[AttackRow]:
    plans = [
        ("fgsm", "fgsm", None, "cross-entropy"), ("pgd", "pgd", None, "cross-entropy"),
        *((f"apgd {rule}", f"apgd:iterations=100,rule={rule}", rule, "cross-entropy") for rule in RULES[:8]),
        *((f"apgd {rule} dlr", f"apgd:iterations=100,loss=dlr,rule={rule}", rule, "dlr") for rule in RULES[:4]),
        ("apgd targeted", "apgd:loss=dlr-targeted,targets=9,restarts=2,rule=assg", "assg", "dlr-targeted"),
        *((f"sa-pgd {rule}", f"sa-pgd:iterations=100,rule={rule}", rule, "margin") for rule in RULES[:2]),
        ("greedy", "greedy", None, "margin"), ("square", "square:queries=5000", None, "margin"),
        ("transfer from twin", "transfer", None, None),
    ]  # fmt: skip
    rows = []
    for number, (label, attack, rule, loss) in enumerate(plans):
        broke = {
            b: max(0, (worst - pgd) * -1 // (number + 1)) for b, worst, pgd in zip(BOUNDS, WORST, PGD, strict=True)
        }
        broke = {bound: count for bound, count in broke.items() if count}
        rows.append(
            AttackRow(label=label, attack=attack, rule=rule, loss=loss, shown=1600 - 61 * number, broke=broke,
                      forward=40_321 + 137 * number, backward=20_160 + 71 * number, seconds=3.1 + 1.7 * number)
        )  # fmt: skip
    return rows


def rule_report(number: int, rule: str) -> RuleReport:
    verdict = ("consistent", "inconclusive", "masked gradients likely")[number % 3]
    answers = [
        Question(name=name, yes=number % 3 == 2 and place < 2,
                 evidence=f"{40 + number}.{place} % against {12 + place}.{number % 10} %")
        for place, name in enumerate(QUESTIONS)
    ]  # fmt: skip
    return RuleReport(
        rule=rule, zero_gradients=number / 40, zero_pixels=number / 17, unstable=0.11 + number / 29, silent=number / 31,
        rising=0.9 - number / 19, unbounded=number / 37,
        questions=answers, verdict=verdict,
        reasons=["gradients are zero on many images"] if number % 3 else [],
    )  # fmt: skip


def card_of(name: str = "hire-seed0", **changes: Any) -> Card:
    curve = [
        Point(bound=bound, eps=eps, fgsm=share(f, OF), pgd=share(p, OF), noise=share(n, OF), worst=share(w, OF))
        for bound, eps, w, p, f, n in zip(
            BOUNDS, [0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 64 / 255, None],
            WORST, PGD, FGSM, NOISE, strict=True,
        )
    ]  # fmt: skip
    cells = [
        Cell(attack=attack, rule=rule, standing=share(min(48, (5 + 3 * row) // (column + 1) + 2 * row), 50))
        for column, attack in enumerate(SCOUTS) for row, rule in enumerate(RULES) if (row + column) % 13
    ]  # fmt: skip
    cells += [Cell(attack=f"noise:kind={kind},draws=100", rule="none", standing=share(47, 50)) for kind in CONTROLS]
    values: dict[str, Any] = {
        "hiresnn": "0.1.0",
        "date": "2026-11-24T18:40:02+00:00",
        "subject": Subject(
            name=name, kind="run", architecture="vgg5", library="hiresnn", method="hire", timesteps=6, neurons=5,
            random=False, draws=1, rounds=False, fingerprint="9f2c" * 16,
        ),
        "data": Images(name="digits", split="test", images=OF, classes=list("0123456789"), size=[1, 8, 8]),
        "setting": Setting(
            preset="standard", seed=3, bounds=BOUNDS, headline="8/255", batch_size=128, twins=["hire-seed1"],
            attacks=["square:queries=5000"],
            command="hiresnn audit runs/quickstart/hire-seed0 --preset standard --limit 200 --seed 3 --bound 8/255",
        ),
        "environment": {"python": "3.11.7", "torch": "2.13.0+cpu", "cpu": "AMD EPYC", "threads": 2, "git_commit": None,
                        "packages": {"numpy": "2.4.6"}},
        "clean": share(196, OF),
        "curve": curve,
        "unbroken": [17, 41, 163],
        "attacks": attack_rows(),
        "screening": Screening(
            bound="4/255", images=50, cells=cells, rules=[rule_report(*pair) for pair in enumerate(RULES)],
            selected=RULES[:8], dropped=RULES[8:],
        ),
        "checks": [
            Check(name="repeated calls", result="passed", detail="two calls gave equal logits"),
            Check(name="finite logits", result="failed", detail="3 of 200 images give logits that are not finite"),
            Check(name="batch order and size", result="not checked", detail="the network draws random numbers"),
        ],
        "conclusion": Conclusion(
            verdict="overestimated",
            headline="Report at most 8.5 % (5.4-13.2), not 41.0 %, at 8/255.",
            reasons=["of the 65 images that the paper's PGD misses, sa-pgd assg broke 40",
                     "own gradient, inconclusive: 31 % of the pixels have a gradient of exactly zero"],
            next_step="hiresnn audit runs/quickstart/hire-seed0 --preset thorough --limit 200",
            own="inconclusive",
        ),
        "activity": [
            Layer(name=f"relu{n}", neurons=size, clean=rate, attacked=rate * (1.19 - 0.07 * n))
            for n, (size, rate) in enumerate([(1024, 0.22), (512, 0.18), (512, 0.171), (128, 0.226), (128, 0.244)], 1)
        ],
        "gallery": [
            Picture(index=3 + 14 * n, label=str(n % 10), predicted=str((n * 7 + 1) % 10), bound="8/255",
                    attack="apgd:iterations=100,rule=assg", amplified=10, clean=png(n), adversarial=png(n + 1),
                    difference=png(n + 2))
            for n in range(12)
        ],
        "budget": Budget(forward=1_234_567, backward=654_321, seconds=754.2),
    }  # fmt: skip
    return Card(**{**values, **changes})


@pytest.fixture(scope="session")
def make_card() -> Callable[..., Card]:
    """Makes a card; keywords replace its parts."""
    return card_of


@pytest.fixture(scope="session")
def card() -> Card:
    """The card as it is. Read only."""
    return card_of()


def write_run(path: Path, method: str, *, seed: int = 0, epochs: int = 10, card: Card | None = None) -> Path:
    """A run folder as `hiresnn train` and `evaluate` leave it, weights aside."""
    path.mkdir(parents=True)
    recipe = override(read("digits"), {"method": method, "seed": str(seed), "noise.step": f"0.0{3 + seed}"})
    (path / "recipe.toml").write_text(dump(recipe))
    (path / "environment.json").write_text(json.dumps({"python": "3.11.7", "threads": 2 + seed, "git_commit": None}))
    stage = "ann" if method == "ann" else "snn"
    rows = []
    for epoch in range(1, epochs + 1):
        row: dict[str, Any] = {"stage": stage, "epoch": epoch, "loss": 1.9 / epoch + seed / 10, "lr": 0.001,
                               "train_accuracy": 100 - 40 / epoch, "seconds": 0.35}  # fmt: skip
        if stage == "snn":
            row["thresholds"] = {f"relu{n}": 0.4 * n + epoch / 100 for n in range(1, 6)}
            row["leaks"] = {f"relu{n}": 1 - epoch * n / 1000 for n in range(1, 6)}
        rows.append(json.dumps(row))
    (path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    attacks = {"fgsm": {"white_box": 69.3, "twins": {"same-ann": 70.14}, "black_box": 70.14},
               "pgd:eps=16/255": {"white_box": 48.17 - seed}}  # fmt: skip
    (path / "result.json").write_text(json.dumps({"clean": 99.15, "attacks": attacks, "images": 355, "seed": seed}))
    if card is not None:
        (path / "audit").mkdir()
        (path / "audit" / "card.json").write_text(card.model_dump_json())
    return path


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes a run folder."""
    return write_run


class Tables(HTMLParser):
    """The tables of a page: caption -> rows -> texts of the cells, white space squeezed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._text: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("caption", "td", "th"):
            self._text = []
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("small", "span") and self._text is not None:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._text is not None and tag in ("caption", "td", "th"):
            text = " ".join("".join(self._text).split())
            self._text = None
            if tag == "caption":
                self.found[text] = self._rows
            else:
                self._rows[-1].append(text)

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)


@pytest.fixture(scope="session")
def tables() -> Callable[[str], dict[str, list[list[str]]]]:
    """Reads the tables of a page."""
    return lambda page: Tables(page).found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium without a window; tests are skipped without it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium on the path")
    with playwright.sync_playwright() as driver:
        try:
            started = driver.chromium.launch(executable_path=program, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"{program} does not start: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page at `address`, a fixture of the test's file; `heard` on it lists requests and complaints."""
    contexts = []

    def show(width: int = 1280, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.heard = []
        page.on("request", lambda request: page.heard.append(request.url))
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.goto(address)
        return page

    yield show
    for context in contexts:
        context.close()
