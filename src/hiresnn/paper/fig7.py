"""Fig. 7: peak memory and time of a training batch, traditional against HIRE, each in a fresh process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.cost import WARM, measure
from hiresnn.paper.directions import Directions
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.words import METHODS, left_out, network_words

NETWORKS = ("vgg5-cifar10", "vgg11-cifar100", "resnet12-cifar10")
COMPARED = ("traditional", "hire")
COST_COLUMNS = ["model", "data set", "method", "peak memory, MiB", "time of a batch, ms", "processor time, ms"]
RATIO_COLUMNS = ["model", "data set", "memory", "time", "processor time"]
QUANTITIES = ("peak_bytes", "seconds_per_batch", "processor_seconds_per_batch")
_IN_UNITS = tuple(zip(QUANTITIES, (2**20, 1e-3, 1e-3), strict=True))
CLOCK, PROCESSOR = 1, 2
"""Places in QUANTITIES. On a CPU the claim on time is judged by processor time: other programs change the clock's."""
SMALL = 32 * 2**20
"""Bytes of a peak below which it is more of the program than of the network."""
_TOO_SMALL = (
    "The networks of this scale are too small for either claim: their memory is mostly bookkeeping of the program, "
    "their time the start of operations, of which two short periods have twice as many as one long one."
)
STARTING = 8.0
"""Seconds of a process before its first batch, for estimates."""


def fig7(study: Study) -> Artefact:
    """Cost of both methods, their ratio, and the paper's two claims: up to 25 % less memory, no extra time."""
    networks = [network for network in NETWORKS if network in study.networks]
    found = {(network, method): _costs(study, network, method) for network in networks for method in COMPARED}
    ratios = {network: _ratios(found, network) for network in networks}
    rows: list[list[Cell]] = [
        [*network_words(network), METHODS[method], *(_over(found[network, method], *each) for each in _IN_UNITS)]
        for network in networks
        for method in COMPARED
    ]
    shares: list[list[Cell]] = [[*network_words(network), *ratios[network]] for network in networks]
    first = next((cost for costs in found.values() for cost in costs if cost), None)
    timed = PROCESSOR if first is not None and first["device"] == "cpu" else CLOCK
    claims, directions = _claims(ratios, timed)
    batch = study.recipe(networks[0], "hire", 0).snn.batch_size if networks else 0
    tables = [
        Table(f"Training on a batch of {batch} images: mean ± sample standard deviation.", COST_COLUMNS, rows),
        Table("HIRE-SNN over traditional training; 1 is as much.", RATIO_COLUMNS, shares),
        Table("The paper's claims, in percent of traditional training.", ["claim", *beside_paper("percent")], claims),
    ]
    notes = [*(_notes(study, first) if first is not None else ()), *directions.notes(), *_slower(ratios, timed)]

    def figure(plotting: Any) -> Any:
        drawn, panels = plotting.figure(1, 2, width=plotting.FULL_WIDTH, height=2.6)
        saving = printed("fig7", "memory_saving_max") or 0.0
        time = "processor time" if timed == PROCESSOR else "time"
        words = ("peak memory\n(traditional = 1)", f"{time} of a batch\n(traditional = 1)")
        titles = (f"(a) paper: up to {100 * saving:.0f} % less", "(b) paper: no extra time")
        for place, (axes, said, title) in enumerate(zip(panels, words, titles, strict=True)):
            shown = (0, timed)[place]
            series = [
                (plotting.STYLES["traditional"], [Stat.of([1.0])] * len(networks)),
                (plotting.STYLES["hire"], [ratios[network][shown] for network in networks]),
            ]
            plotting.bars(axes, [network_words(network)[0] for network in networks], series, digits=2)
            plotting.level(axes, (1 - saving, 1.0)[place], plotting.Style("claim of the paper", "#000000"))
            plotting.label(axes, x="", y=said, title=title)
            axes.margins(y=0.12)
        plotting.outside(drawn, columns=3)
        return drawn

    return Artefact("fig7", "Memory and time of training", tables, figure if networks else None, notes)


def _costs(study: Study, network: str, method: str) -> list[Any]:
    """What `measure` found, a process for each seed of the network."""
    return [_cost(study, network, method, seed) for seed in study.seeds_of(network)]


def _cost(study: Study, network: str, method: str, seed: int) -> Any:
    recipe, batches, setting = study.recipe(network, method, seed), study.scale.cost_batches, study.setting(network)
    decides = recipe.model_dump(mode="json", exclude={"ann", "attack", "data"})
    decides |= {"source": Path(recipe.data.source).name, "augment": recipe.data.augment}
    key = {"what": "cost", "recipe": decides, "images": recipe.data.train_images, "batches": batches}

    def work() -> Any:
        shown = study.images.whole(network)
        study.progress.line(f"  {network} {method}, seed {seed}: memory and time, in a process of its own")
        return measure(recipe, batches, channels=shown.in_channels, size=shown.image_size, classes=shown.num_classes)

    trained = (2 * WARM + 1 + batches) * recipe.snn.batch_size * recipe.snn.timesteps
    return study.measured(key, work, seconds=STARTING + trained * setting.step_ms / 1000, alone=True)


def _over(costs: list[Any], quantity: str, unit: float = 1.0) -> Stat:
    return Stat.of(float(cost[quantity]) / unit for cost in costs)


def _ratios(found: dict[tuple[str, str], list[Any]], network: str) -> list[Stat]:
    """HIRE over traditional, process by process, for each of QUANTITIES."""
    pairs = list(zip(found[network, "hire"], found[network, "traditional"], strict=True))
    return [Stat.of(float(ours[each]) / float(theirs[each]) for ours, theirs in pairs) for each in QUANTITIES]


def _claims(ratios: dict[str, list[Stat]], timed: int) -> tuple[list[list[Cell]], Directions]:
    directions, rows = Directions(), []
    if ratios:
        memory, time = (100 * (printed("fig7", name) or 0.0) for name in ("memory_saving_max", "extra_time"))
        saving = max(100 * (1 - each[0].mean) for each in ratios.values())
        extra = max(100 * (each[timed].mean - 1) for each in ratios.values())
        rows = [
            ["largest saving of memory over the networks", *compared(memory, saving)],
            ["largest extra time over the networks", *compared(time, extra)],
        ]
        directions.compare("largest saving of memory, percent", memory, saving)
    return rows, directions


def _slower(ratios: dict[str, list[Stat]], timed: int) -> list[str]:
    """The paper's "no extra time" has no sign to compare: say where HIRE took longer, and by how much."""
    extra = {network: 100 * (each[timed].mean - 1) for network, each in ratios.items()}
    longer = [f"{network_words(network)[0]} by {percent:.1f} %" for network, percent in extra.items() if percent > 0]
    return [f"HIRE took longer here, where the paper has no extra time: {', '.join(longer)}."] if longer else []


def _notes(study: Study, first: Any) -> list[str]:
    memory = "resident memory of the process" if first["device"] == "cpu" else "GPU memory in tensors"
    return [
        f"Scale {study.scale.name}; {first['processor']}, threads: {first['threads']}. A process for each network, "
        f"method and seed trains {WARM} batches, then one whose peak is read; then, after {WARM} more, it times "
        f"{first['batches']}: the median by the clock, the mean of processor time. On a CPU the claim on time and the "
        "figure go by processor time, which other programs on the machine hardly change.",
        f"Memory is the peak of {memory} less what is left of it when training is over: images, weights, gradients, "
        "optimiser state and what is kept for the backward pass. All batches have one shape, and so one peak.",
        *([_TOO_SMALL] if first["peak_bytes"] < SMALL else []),
        "Weights and images are random, weights of a variance that lets activity reach the last layer: what the "
        "network has learned changes no cost.",
        "The text of the paper times 200 batches, the caption of its Fig. 7 a batch of 200 images.",
        *left_out(NETWORKS, study.networks),
    ]
