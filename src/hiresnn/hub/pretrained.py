"""Load trained networks by name, from a folder or from a hub, and publish runs with their audit and a model card."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import nn

from hiresnn.app import zoo
from hiresnn.app.audit import verify
from hiresnn.app.folder import ENVIRONMENT, METRICS, MODEL, RECIPE, RESULT
from hiresnn.app.targets import load
from hiresnn.audit.run import ADVERSARIAL
from hiresnn.audit.run import CARD as CARD_NAME
from hiresnn.errors import RunError, UsageError, closest, command_line, in_a_line, install_command, quoted
from hiresnn.files import new_folder
from hiresnn.report.pages import Run, audit_page, read_runs

README = "README.md"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
ALLOWED = ["*.safetensors", "*.json", "*.toml"]  # what is downloaded from a hub: no file that can run code
CARD, IMAGES = f"audit/{CARD_NAME}", f"audit/{ADVERSARIAL}"
REPORT = "report.html"
COPIED = (MODEL, RECIPE, RESULT, ENVIRONMENT, METRICS, IMAGES)
"""Files of a run folder that are copied as they are. The training state and the user's other files stay behind."""
HUB_DATASETS = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "svhn": "ufldl-stanford/svhn",
}  # name of a data set of the package -> its id on the Hugging Face hub


def shipped() -> list[Run]:
    """Return the audited networks on this machine with their recipes, results and cards, sorted by name."""
    return [run for run in read_runs(list(zoo.folders().values())) if run.card is not None]


def copy(name: str, folder: Path) -> None:
    """Copy a network to a new run folder; UsageError if there is no such network, or the folder exists."""
    source = zoo.folder_of(name)
    if folder.exists():
        raise UsageError(f"{folder} exists and is not replaced; name a new folder.")
    with new_folder(folder) as part:
        shutil.copytree(source, part, dirs_exist_ok=True)


def from_pretrained(name: str | Path, *, revision: str | None = None, ann: nn.Module | None = None) -> nn.Module:
    """Load a trained network: an ANN or a `SpikingNetwork`, images [B, C, H, W] in [0, 1] -> logits [B, K].

    The network is in eval mode on the CPU. Its weights are read from safetensors; no file can run code.

    Args:
        name: a network that `hiresnn zoo` lists, such as "digits-hire"; a folder that hiresnn train or hiresnn publish
            wrote; or the id of a hub repository, "user/name". Write "./digits-hire" for a folder with the name of a
            network.
        revision: branch, tag or commit of a hub repository; None takes its newest version.
        ann: the structure of a network of your own, see `hiresnn.load`.

    Raises:
        UsageError: there is no such network or folder, or the hub's client is not installed.
        RunError: the download failed, or the weights are damaged.

    Example:
        >>> network = from_pretrained("digits-hire")
        >>> network(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    path, text = Path(name), str(name)
    if text in zoo.names() and not (isinstance(name, Path) and path.is_dir()):
        path = zoo.folder_of(text)
    elif path.is_file():
        raise UsageError(f"{path} is a file; name its folder, or load a file with hiresnn.load.")
    elif HUB_ID.fullmatch(text) and not path.is_dir():
        path = _download_repository(text, revision)
    elif not path.is_dir():
        known = f"{closest(text, zoo.names())}; the id of a hub repository has the form user/name"
        raise UsageError(f"there is no folder and no network {quoted(text)}; {known}.")
    return load(path / MODEL, ann=ann)


def _download_repository(repository: str, revision: str | None) -> Path:
    missing = f"there is no folder {repository}"
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, revision=revision, allow_patterns=ALLOWED))
    except ImportError:
        raise UsageError(f"{missing}, and the hub's client is missing: {install_command('hub')}.") from None
    except Exception as error:  # the client raises errors of several libraries
        problem = f"the hub's repository of this name cannot be downloaded ({in_a_line(error)})"
        raise RunError(f"{missing}, and {problem}; check the name and the network.") from error


def model_card(run: Run, name: str, license: str | None = None) -> str:
    """Return the model card of an audited run as Markdown with a YAML header, without the hub's client."""
    card = run.card
    assert card is not None
    # Markdown is not HTML: the filters `plain`, `code` and `json` escape what a card or a recipe says.
    whitespace: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=PackageLoader("hiresnn.hub"), undefined=StrictUndefined, **whitespace)
    environment.filters["plain"] = lambda text: re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
    environment.filters["code"] = lambda text: re.sub("[`<>]", "", " ".join(text.split()))
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False).replace("<", r"\u003c")
    point = card.at(card.setting.headline)
    return environment.get_template("model_card.md").render(
        card=card, run=run, name=name, point=point, license=license, hub_dataset=HUB_DATASETS.get(card.data.name)
    )


class Publication(NamedTuple):
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
    with new_folder(folder) as part:
        (part / CARD).parent.mkdir()
        for name in copied:
            shutil.copyfile(path / name, part / name)
        for name, text in texts.items():
            (part / name).write_bytes(text.encode())
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
        raise UsageError(f"the hub's client is missing: {install_command('hub')} (not needed for --dry-run).") from None
    outdated = [CARD, REPORT, *COPIED]  # what an earlier version had and this one lacks
    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=private, exist_ok=True)
        message = "Published by hiresnn"
        hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message, delete_patterns=outdated)
    except Exception as error:  # the client raises errors of several libraries
        problem = f"{repository} could not be published ({in_a_line(error)})"
        raise RunError(f"{problem}; check the name, your login and the network.") from error
    return str(address)


def require_hub_id(repository: str) -> None:
    """Raise UsageError unless the id of a hub repository has the form user/name."""
    if not HUB_ID.fullmatch(repository):
        raise UsageError(f"{repository!r} is not the id of a hub repository; write user/name.")
