"""Write a run as others can use it: weights, recipe, numbers, audit and a model card; and upload it to a hub."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hiresnn.app.audit import verify
from hiresnn.app.folder import ENVIRONMENT, METRICS, MODEL, RECIPE, RESULT
from hiresnn.audit.run import ADVERSARIAL
from hiresnn.audit.run import CARD as CARD_NAME
from hiresnn.errors import RunError, UsageError, command_line, in_a_line
from hiresnn.files import new_folder, write_atomically
from hiresnn.hub.pretrained import HUB_ID, README
from hiresnn.report.pages import Run, audit_page, read_runs

HUB_DATASETS = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "svhn": "ufldl-stanford/svhn",
}  # name of a data set of the package -> its id on the Hugging Face hub


def model_card(run: Run, name: str, license: str | None = None) -> str:
    """Return the model card of an audited run as Markdown with a YAML header, without the hub's client."""
    card = run.card
    assert card is not None
    # Markdown is not HTML: the filters `plain`, `code` and `json` escape what a card or a recipe says.
    loader = PackageLoader("hiresnn.hub")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = _plain
    environment.filters["code"] = lambda text: re.sub("[`<>]", "", " ".join(text.split()))
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False).replace("<", r"\u003c")
    point = card.at(card.setting.headline)
    return environment.get_template("model_card.md").render(
        card=card, run=run, name=name, point=point, license=license, hub_dataset=HUB_DATASETS.get(card.data.name)
    )


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


CARD, IMAGES = f"audit/{CARD_NAME}", f"audit/{ADVERSARIAL}"
REPORT, UNFINISHED = "report.html", ".unfinished"  # the second is in a folder while it is written
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
    """Write the audited run in `path` into the new or empty `folder`, a run folder; returns the files written.

    Raises:
        RunError: the run is not complete, or its audit card does not verify against its network and its adversarial
            images.
        UsageError: the folder has files, or the network is of the user's own code.
    """
    (run,) = read_runs([path])
    if run.notes:
        raise RunError(run.notes[0])
    if run.recipe.model.source is not None:
        problem = f"{path} has a network of your own, {run.recipe.model.source}, whose code would be missing"
        raise UsageError(f"{problem}; publish the run with that code yourself.")
    for name, command in ((MODEL, "resume"), (RESULT, "evaluate"), (CARD, "audit"), (IMAGES, "audit")):
        if not (path / name).is_file():
            raise RunError(f"{path} has no {name}, so it cannot be published; run {command_line(command, path)}.")
    if problems := verify(path / CARD, str(path)).problems:
        repeat = command_line("audit", path, "--replace")
        raise RunError(f"the audit in {path} does not verify ({problems[0]}); run {repeat}.")
    assert run.card is not None
    card = run.card if publication.pictures else run.card.model_copy(update={"gallery": []})
    texts = {
        README: model_card(run, publication.name, publication.license),
        CARD: card.model_dump_json(indent=2) + "\n",
        **({REPORT: audit_page(card)} if publication.pictures else {}),
    }
    copied = [name for name in COPIED if (path / name).is_file()]
    if (folder / UNFINISHED).is_file():  # an earlier call was killed
        shutil.rmtree(folder)
    with new_folder(folder):
        (folder / UNFINISHED).touch()
        (folder / CARD).parent.mkdir()
        for name in copied:
            shutil.copyfile(path / name, folder / name)
        for name, text in texts.items():
            write_atomically(folder / name, text.encode())
        (folder / UNFINISHED).unlink()
    return [folder / name for name in sorted([*copied, *texts])]


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a folder that `write_publication` wrote to the Hugging Face hub; returns the address of the repository.

    Log in before with `hf auth login`, or set HF_TOKEN. Raises UsageError if the id is not of the form user/name or the
    hub's client is not installed, and RunError if the upload fails.
    """
    require_hub_id(repository)
    try:
        from huggingface_hub import HfApi
    except ImportError:
        remedy = "run pip install 'hiresnn[hub]', or write the files only with --dry-run DIR"
        raise UsageError(f"publishing needs huggingface-hub; {remedy}.") from None
    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Published by hiresnn",
            delete_patterns=[CARD, REPORT, *COPIED],  # what an earlier version had and this one lacks
        )
    except Exception as error:  # the client raises errors of several libraries
        problem = f"{repository} could not be published ({in_a_line(error)})"
        raise RunError(f"{problem}; check the name, your login and the network.") from error
    return str(address)


def require_hub_id(repository: str) -> None:
    """Raise UsageError unless the id of a hub repository has the form user/name."""
    if not HUB_ID.fullmatch(repository):
        raise UsageError(f"{repository!r} is not the id of a hub repository; write user/name.")
