"""The README.md of a published network: metadata for a hub, use, robustness, training and limits.

Write a run as others can use it: weights, recipe, numbers, audit and a model card; and upload it to a hub.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hiresnn.app.audit import ADVERSARIAL, verify
from hiresnn.app.audit import CARD as CARD_NAME
from hiresnn.app.folder import ENVIRONMENT, METRICS, MODEL, RECIPE, RESULT
from hiresnn.errors import RunError, UsageError, command_line, in_a_line
from hiresnn.files import new_folder, write_atomically
from hiresnn.hub.pretrained import HUB_ID, README
from hiresnn.report.pages import audit_page
from hiresnn.report.reading import Run, read_runs

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


CARD, IMAGES = f"audit/{CARD_NAME}", f"audit/{ADVERSARIAL}"
REPORT = "report.html"
COPIED = (MODEL, RECIPE, RESULT, ENVIRONMENT, METRICS, IMAGES)
"""Files of a run folder that are copied as they are. The training state and the user's other files stay behind."""


@dataclass(frozen=True)
class Publication:
    """How a run is published.

    Attributes:
        name: what `hiresnn.from_pretrained` takes: a hub id, "user/name", or the name of a network of the package.
        license: of the weights, by its identifier such as "mit"; None names none.
        pictures: whether the card keeps its pictures and becomes a page, report.html.
    """

    name: str
    license: str | None = None
    pictures: bool = True


def write_publication(path: Path, folder: Path, publication: Publication) -> list[Path]:
    """Write the audited run in `path` into the new or empty `folder`; returns the files that were written.

    The folder is a run folder: it can be evaluated, audited and reported, and `from_pretrained` gives a bit-identical
    network.

    Raises:
        RunError: the run is not complete, or its audit card does not verify against its network and its adversarial
            images.
        UsageError: the folder has files, or the network is of the user's own code.
    """
    (run,) = read_runs([path])
    if run.notes:
        raise RunError(run.notes[0])
    if run.recipe.model.source is not None:
        raise UsageError(
            f"{path} has a network of your own, {run.recipe.model.source}, whose code a published folder would lack; "
            "publish that code with the weights, the recipe and the audit of the run yourself."
        )
    for name, command in ((MODEL, "resume"), (RESULT, "evaluate"), (CARD, "audit"), (IMAGES, "audit")):
        if not (path / name).is_file():
            raise RunError(f"{path} has no {name}, so it cannot be published; run {command_line(command, path)}.")
    found = verify(path / CARD, str(path))
    if found.problems:
        raise RunError(
            f"the audit in {path} does not verify ({found.problems[0]}); run "
            f"{command_line('audit', path, '--replace')}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; name a new one.")
    assert run.card is not None
    card = run.card if publication.pictures else run.card.model_copy(update={"gallery": []})
    texts = {
        README: model_card(run, publication.name, publication.license),
        CARD: card.model_dump_json(indent=2) + "\n",
        **({REPORT: audit_page(card)} if publication.pictures else {}),
    }
    copied = [name for name in COPIED if (path / name).is_file()]
    with new_folder(folder):
        (folder / CARD).parent.mkdir()
        for name in copied:
            shutil.copyfile(path / name, folder / name)
        for name, text in texts.items():
            write_atomically(folder / name, text.encode())
    return [folder / name for name in sorted([*copied, *texts])]


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a folder that `write_publication` wrote to the Hugging Face hub; returns the address of the repository.

    Log in before with `hf auth login`, or set HF_TOKEN.

    Raises:
        UsageError: the id is not of the form user/name, or the hub's client is not installed.
        RunError: the upload failed.
    """
    require_hub_id(repository)
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UsageError(
            "publishing needs huggingface-hub, which is not installed; run pip install 'hiresnn[hub]', or write the "
            "files only with --dry-run DIR."
        ) from None
    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Published by hiresnn",
            delete_patterns=[CARD, REPORT, *COPIED],  # what an earlier version had and this one lacks
        )  # fmt: skip
    except Exception as error:  # the client raises errors of several libraries
        reason = in_a_line(error)
        raise RunError(
            f"{repository} could not be published ({reason}); check the name, your login and the network."
        ) from error
    return str(address)


def require_hub_id(repository: str) -> None:
    """Raise UsageError unless the id of a hub repository has the form user/name."""
    if not HUB_ID.fullmatch(repository):
        raise UsageError(f"{repository!r} is not the id of a hub repository; write user/name.")
