"""The README.md of a published network: metadata for a hub, use, robustness, training and limits."""

from __future__ import annotations

import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hiresnn.report.reading import Run

TAGS = ("image-classification", "adversarial-robustness", "robustness-audit")
SPIKING = ("spiking-neural-network", "neuromorphic")
HUB_DATASETS = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "svhn": "ufldl-stanford/svhn",
}
"""Name of a data set of the package -> its id on the Hugging Face hub."""


def model_card(run: Run, name: str, license: str | None = None) -> str:
    """Return the model card of an audited run as Markdown with a YAML header.

    Args:
        run: with an audit card and a result.
        name: what `hiresnn.from_pretrained` takes.
        license: of the weights, as the hub writes it, such as "mit".
    """
    card = run.card
    assert card is not None
    values = {
        "card": card,
        "run": run,
        "name": name,
        "point": card.at(card.setting.headline),
        "license": license,
        "iterations": run.recipe.attack.iterations,
    }
    header = "".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in metadata(run, name, license).items()
    )
    # Markdown is not HTML; names that the user gave are escaped by the filter `plain`.
    environment = Environment(
        loader=PackageLoader("hiresnn.hub"), autoescape=False, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["plain"] = _plain
    return f"---\n{header}---\n\n{environment.get_template('model_card.md').render(values)}"


def _plain(text: str) -> str:
    """Return a name as Markdown that shows it as it is, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def metadata(run: Run, name: str, license: str | None = None) -> dict[str, Any]:
    """Return the header of the model card: the fields of the Hugging Face hub, and the verdict of the audit.

    Accuracies are in percent, intervals are Wilson's at 95 %.
    """
    card = run.card
    assert card is not None
    point = card.at(card.setting.headline)
    data = {"name": card.data.name, "type": HUB_DATASETS.get(card.data.name, card.data.name), "split": card.data.split}
    spiking = SPIKING if card.subject.timesteps is not None else ()
    accuracies = {
        "Accuracy, clean": card.clean,
        f"Accuracy under PGD-{run.recipe.attack.iterations} at {point.bound}": point.pgd,
        f"Accuracy in the worst case of an audit at {point.bound}": point.worst,
    }
    return {
        "library_name": "hiresnn",
        "pipeline_tag": "image-classification",
        **({"license": license} if license else {}),
        "tags": [*spiking, *TAGS],
        **({"datasets": [HUB_DATASETS[card.data.name]]} if card.data.name in HUB_DATASETS else {}),
        "model-index": [{
            "name": name.rpartition("/")[2],
            "results": [{
                "task": {"type": "image-classification"},
                "dataset": data,
                "metrics": [
                    {"type": "accuracy", "name": label, "value": share.percent} for label, share in accuracies.items()
                ],
            }],
        }],
        "hiresnn": {
            "verdict": card.conclusion.verdict,
            "report": card.conclusion.headline,
            "bound": point.bound,
            "worst_case": {"percent": point.worst.percent, "low": point.worst.low, "high": point.worst.high},
            "images": card.data.images,
            "preset": card.setting.preset,
            "method": run.recipe.method,
            "timesteps": card.subject.timesteps,
            "fingerprint": card.subject.fingerprint,
        },
    }  # fmt: skip
