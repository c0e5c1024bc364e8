"""What a text names: a run, a weights file, or a user's FILE.py:FUNCTION or MODULE:FUNCTION, which is executed."""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app import networks, zoo
from hiresnn.app.folder import MODEL, RECIPE, SOURCE, RunFolder
from hiresnn.app.recipe import Recipe
from hiresnn.attacks import Model, register
from hiresnn.calls import read_call
from hiresnn.checks import require_logits
from hiresnn.data import DataSet, Split
from hiresnn.errors import RunError, UsageError, quoted, suggestion, user_code
from hiresnn.foreign import Unrolled, recognise
from hiresnn.models import OwnNetwork, spec_of
from hiresnn.modes import evaluating
from hiresnn.network import SpikingNetwork, copied, uncompiled
from hiresnn.process import leads

PREFIX = "hiresnn_target_"  # of the module names under which users' files are imported
_EXAMPLE = "name a Python file and its function, such as my_network.py:network"


@dataclass(frozen=True)
class UserCode:
    """A function of the user's, not executed yet; `module` is the path of a file, or a module's dotted name."""

    module: str
    function: str

    @classmethod
    def parse(cls, text: str) -> UserCode:
        """Read FILE.py:FUNCTION or MODULE:FUNCTION. Raises UsageError for another form."""
        module, _, function = text.rpartition(":")
        if not module:
            raise UsageError(f"{quoted(text)} is no FILE.py:FUNCTION and no MODULE:FUNCTION, such as mine.py:network.")
        return cls(module, function)

    @property
    def text(self) -> str:
        return f"{self.module}:{self.function}"

    @property
    def is_file(self) -> bool:
        return self.module.endswith(".py")

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of the files that define the function, by path relative to the folder of the first.

        A file's own imports from its folder count; of an installed module, only the file that defines the function.
        """
        if self.is_file:
            path = require_file(self.module, _EXAMPLE).resolve()
            return _imported_files(path, path.parent)
        definition = inspect.unwrap(self.callable("name one that it has"))
        try:
            path = Path(inspect.getsourcefile(definition) or "")
        except TypeError:  # an object, or a class written in C
            path = Path(getattr(sys.modules[self.module], "__file__", None) or "")
        path, here = path.resolve(), Path.cwd().resolve()
        if not path.is_file():
            return {}
        if path.is_relative_to(here) and "site-packages" not in path.parts:
            return _imported_files(path, here)
        return {getattr(definition, "__module__", self.module): _sha256(path)}

    def network(self, num_classes: Callable[[], int] | None = None) -> Any:
        """Return the network of the function, which gets the `num_classes` if it takes them; a module is copied."""
        function = self.callable("add one that returns a network: images [B, C, H, W] -> logits")
        if isinstance(function, nn.Module):
            return copy.deepcopy(function)
        with _importable(self.module), user_code(self.text):
            parameters = inspect.signature(function).parameters.values() if num_classes is not None else ()
        takes = any(given.name == "num_classes" or given.kind is given.VAR_KEYWORD for given in parameters)
        options = {"num_classes": num_classes()} if num_classes is not None and takes else {}
        with _importable(self.module), user_code(self.text):
            return function(**options)

    def callable(self, hint: str) -> Callable[..., Any]:
        """Import the code and return the function, which is not called; `hint` says what to add if there is none."""
        with _importable(self.module):
            module = _imported(self.module)
            function: Any = getattr(module, self.function, None)
        if not callable(function):
            near = suggestion(self.function, [name for name, value in vars(module).items() if callable(value)])
            raise UsageError(f"{self.module} has no function {self.function!r}; {near}{'or ' * bool(near)}{hint}.")
        return function  # type: ignore[no-any-return]


def require_file(path: str | Path, remedy: str) -> Path:
    """Return the path of a file that a user names, or raise UsageError, which ends with `remedy`."""
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}; {remedy}.")
    return Path(path)


def _imported(module: str) -> ModuleType:
    if not module.endswith(".py"):
        with user_code(f"the import of module {module!r}", "; name an importable module or a FILE.py:FUNCTION."):
            return importlib.import_module(module)
    path = require_file(module, _EXAMPLE).resolve()
    _require_no_other_modules(path)
    # The name has a hash of the path, because two files in different folders may have the same name.
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}_{mark}", path)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code  # dataclasses and pickled classes look up their module by name
    with user_code(f"the import of {module}"):
        spec.loader.exec_module(code)
    return code


def _require_no_other_modules(path: Path) -> None:
    for name in _imported_files(path, path.parent):
        imported = sys.modules.get(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        source = getattr(imported, "__file__", None)
        if name != path.name and source is not None and Path(source).resolve() != path.parent / name:
            raise UsageError(f"{path} imports {name}, but {source} of the same name is already imported; rename one.")


@contextmanager
def _importable(module: str) -> Iterator[None]:
    folder = str(Path(module).resolve().parent if module.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _imported_files(start: Path, root: Path) -> dict[str, str]:
    digests: dict[str, str] = {}
    paths = [start]
    while paths:
        path = paths.pop()
        name = path.relative_to(root).as_posix()
        if name not in digests:
            digests[name] = _sha256(path)
            paths += [file for file in _imports(path, root) if file.is_relative_to(root)]
    return dict(sorted(digests.items()))


def _imports(path: Path, root: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the import will fail with a message of its own
        return
    for node in ast.walk(tree):
        names: list[str] = []
        folder = root
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                folder = path.parents[min(node.level, len(path.parents)) - 1]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                module = folder.joinpath(*parts[:end])
                yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class OwnCode:
    """The code of a recipe's own network; `record`, for source.json, has its SHA-256 and that of its weights."""

    code: UserCode
    record: dict[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the network, whatever folder it is in."""
        files = sorted(self.record["files"].items())
        return {"function": self.code.function, "files": files, "weights": self.record["weights"]}

    def build(self, recipe: Recipe, dataset: DataSet, split: Split | None) -> OwnNetwork:
        """Return the user's network behind the normalisation of `split`, tried on two images."""
        spec = networks.OwnSpec(
            name=recipe.model.label, source=self.record["model"], num_classes=dataset.num_classes,
            in_channels=dataset.in_channels, height=dataset.height, width=dataset.width,
            normalise=bool(recipe.model.normalise), events=dataset.events is not None,
        )  # fmt: skip
        network = self.bare(spec)
        if recipe.model.weights:
            networks.load_weights(network, Path(recipe.model.weights))
        own = OwnNetwork(network, spec.model_dump(exclude_defaults=True), *normalisation(recipe, dataset, split))
        images = torch.zeros(2, *dataset.train.images.shape[1:])
        size = " x ".join(map(str, images.shape[1:]))
        with torch.no_grad(), torch.random.fork_rng([]), evaluating(own):
            called = f"{spec.source}, called with images of {dataset.name}, {size} (channels x height x width),"
            with user_code(called, "; change the network, or the size of the images with data.size."):
                logits = own(images)
        require_logits(logits, len(images))
        if logits.shape[1] != dataset.num_classes:
            classes = f"the {dataset.num_classes} classes of {dataset.name}"
            raise UsageError(f"{spec.source} returns {logits.shape[1]} logits for {classes}; take num_classes.")
        return own

    def bare(self, spec: networks.OwnSpec | None) -> nn.Module:
        """Return the structure of the network that `spec` describes, with new weights."""
        source = self.record["model"]
        if spec is None:
            raise RunError(f"the weights of the run are not those of {source}; train it again into another --out.")
        network = self.code.network(lambda: spec.num_classes)
        if not isinstance(network, nn.Module):
            raise UsageError(f"{source} returned {type(network).__name__}; it must return a torch.nn.Module.")
        return copied(uncompiled(network))  # the function may return the same network at every call


def normalisation(recipe: Recipe, dataset: DataSet, split: Split | None) -> tuple[Any, Any]:
    """Return the means and deviations of the channels: of `split`, or zeros and ones, or (None, None).

    With "symmetric" both are 0.5, so that pixels come to lie in [-1, 1].
    """
    if not recipe.model.normalise:
        return None, None
    if recipe.model.normalise == "symmetric":
        return [0.5] * dataset.in_channels, [0.5] * dataset.in_channels
    if split is None:
        return [0.0] * dataset.in_channels, [1.0] * dataset.in_channels
    return data.channel_statistics(split)


def own_code(recipe: Recipe, folder: Path | None = None) -> OwnCode | None:
    """Return the code of the recipe's own network, if it has one; RunError if it is not that of the run's source.json.

    That file adds a path where the code may be.
    """
    source, weights = recipe.model.source, recipe.model.weights
    if source is None:
        return None
    recorded: dict[str, Any] = {}
    if folder is not None and (folder / SOURCE).is_file():
        recorded = RunFolder.follow(folder).read_json(SOURCE)
    code = UserCode.parse(source)
    candidates = [code, replace(code, module=recorded["path"])] if recorded.get("path") else [code]
    candidates = [candidate for candidate in candidates if Path(candidate.module).is_file()] or [code]
    code = next((candidate for candidate in candidates if candidate.files() == recorded.get("files")), candidates[0])
    path = str(Path(code.module).resolve()) if code.is_file else None
    digest = recorded.get("weights")
    if weights is not None and (digest is None or Path(weights).is_file()):
        digest = weights_digest(weights)
    files, earlier = code.files(), recorded.get("files", {})
    changed = sorted(name for name in {*files, *earlier} if files.get(name) != earlier.get(name))
    if recorded and changed:
        problem = f"{', '.join(changed[:3])} of {source} changed after the run {folder} began"
        raise RunError(f"{problem}; restore it, or delete {SOURCE} there if the network is the same.")
    if recorded.get("weights") not in (None, digest):
        raise RunError(f"{weights} changed after the run {folder} began; restore it, or train into another --out.")
    return OwnCode(code, {"model": source, "path": path, "files": files, "weights": digest})


def weights_digest(weights: str) -> str:
    """Return the SHA-256 of a file of weights; UsageError if there is none."""
    return _sha256(require_file(weights, "name a .safetensors file or a state_dict for the weights"))


def load(path: str | Path, *, ann: nn.Module | None = None) -> nn.Module:
    """Read a network in eval mode, on the CPU: an ANN or a `SpikingNetwork`, as it was saved.

    Args:
        path: a run folder, whose own code is executed (one line on standard error says so), or a file that `save`
            wrote, which never executes code.
        ann: for a file, the structure of a user's own network, whose weights do not matter; or a spiking network of
            the same structure, if it has no ANN.

    Raises:
        RunError: the file or run does not exist, is damaged, belongs to another architecture, or its code has changed.

    Example:
        >>> network = hiresnn.load("runs/mine")  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir() and ann is None:
        return load_run(RunFolder.open(path))
    structure = None if ann is None else lambda _: copied(uncompiled(ann))
    return networks.load(path / MODEL if path.is_dir() else path, structure)


def load_run(folder: RunFolder, *, may_run_code: bool = True) -> nn.Module:
    """Return the trained network of a run as `load` does; without `may_run_code`, a user's own network is refused."""
    path, source = folder.require(MODEL), folder.recipe.model.source
    if source is not None and not may_run_code:
        remedy = f"{folder.path}={folder.path}/audit/card.json for hiresnn board, or before --verify of hiresnn audit"
        raise UsageError(
            f"the network of run {folder.path} is Python code, {source}, which a file may not choose to run; if you "
            f"trust it, name the run: {remedy}."
        )
    if (code := own_code(folder.recipe, folder.path)) is None:
        return networks.load(path)
    announce(code, folder.path)
    return networks.load(path, code.bare)


def announce(code: OwnCode, run: Path) -> None:
    """Say on standard error which code is executed because a run names it."""
    if leads():
        print(f"Executing {code.code.text}, the code of the network in {run}.", file=sys.stderr)


@dataclass(frozen=True)
class ModelSource:
    """A network and its origin: the recipe and folder of a run, no folder in the zoo, or a file's SHA-256."""

    model: Model
    name: str
    kind: Literal["run", "file", "function"]
    recipe: Recipe | None = None
    folder: Path | None = None
    source: str = ""

    def recognised(self, images: Tensor, timesteps: int | None = None) -> ModelSource:
        """Return the network of a function in an adapter if it spikes and has none, see `hiresnn.foreign.recognise`.

        `images` [N, C, H, W] in [0, 1] are tried on it. Raises UsageError where `timesteps` have no effect.
        """
        model = self.model
        if self.kind == "function" and isinstance(model, nn.Module) and images.dim() == 4:
            model = recognise(model, images, timesteps)
        if timesteps is not None and model is self.model:
            reason = "is not the network of a FILE.py:FUNCTION, has no spiking neurons, or has its timesteps already"
            raise UsageError(f"--timesteps has no effect: {self.name} {reason}; leave it out.")
        return replace(self, model=model)

    @property
    def library(self) -> str:
        """ "hiresnn", the library that an adapter names, the package of the network's class, or "own code"."""
        if isinstance(self.model, SpikingNetwork) or self.kind != "function":
            return "hiresnn"
        home = type(self.model).__module__.partition(".")[0]
        own = home in ("builtins", "__main__") or home.startswith(PREFIX)
        return str(getattr(self.model, "library", "") or ("own code" if own else home))

    @property
    def architecture(self) -> str:
        """The name of the network in `hiresnn.models.build`, or its class, that inside an adapter."""
        spec, network = spec_of(self.model) or {}, self.model
        return str(spec.get("name") or type(network.network if isinstance(network, Unrolled) else network).__name__)


def resolve_model(
    text: str,
    *,
    may_run_code: bool = True,
    weights: Path | None = None,
    source: str | None = None,
    size: int | None = None,
) -> ModelSource:
    """Return the network that `text` names: `RUN`, a name of the zoo, `FILE.safetensors`, or `MODULE:FUNCTION`.

    Code is executed, also that of a run's own network; without `may_run_code` it is refused. `weights` names a file of
    weights for the network of a function; UsageError for other targets. A function that takes `num_classes` gets the
    number of classes of the data set `source`.
    """
    if weights is not None and (":" not in text or Path(text).is_dir()):
        raise UsageError(f"--weights is for the network of a FILE.py:FUNCTION; {text} has its own, leave it out.")
    if (run := run_named(text)) is not None:
        # A file may choose no download.
        folder = RunFolder.open_or_zoo(run) if may_run_code or text in zoo.folders() else RunFolder.open(run)
        network = load_run(folder, may_run_code=may_run_code)
        return ModelSource(network, run.resolve().name, "run", folder.recipe, None if folder.drops_writes else run)
    path = Path(text)
    if path.suffix == ".safetensors":
        return ModelSource(networks.load(path), path.stem, "file")
    if ":" not in text:
        forms = "no run folder, no network of hiresnn zoo, no .safetensors file and no FILE.py:FUNCTION"
        raise UsageError(f"{text!r} is {forms}; name one of them.")
    if not may_run_code:
        raise UsageError(f"{text!r} names Python code, which a file may not choose; name it before --verify.")
    code = UserCode.parse(text)
    model: Model = code.network(None if source is None else lambda: data.load(source, size=size).num_classes)
    if not callable(model):
        raise UsageError(f"{text} returned {type(model).__name__}; it must return a network: images -> logits.")
    name = f"{Path(code.module).stem if code.is_file else code.module}-{code.function}"
    files = code.files()
    digest = files[Path(code.module).name] if code.is_file else next(iter(files.values()), "")
    if weights is not None:
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"{text} returned {type(model).__name__}, which has no weights to load; leave --weights out."
            )
        digest = hashlib.sha256(f"{digest} {weights_digest(str(weights))}".encode()).hexdigest()
        networks.load_weights(_trained_part(model, weights), weights)
    return ModelSource(model, name, "function", source=digest)


def _trained_part(model: nn.Module, weights: Path) -> nn.Module:
    """Return the network that the weights are of: that in an adapter or behind a normalisation, or all of it."""
    parts = {name: part for name, part in model.named_children() if part.state_dict()}
    if isinstance(model, (nn.Sequential, Unrolled)) and len(parts) == 1:
        (name, part) = parts.popitem()
        if not any(key.startswith(f"{name}.") for key in networks.read_state(weights)):
            return _trained_part(part, weights)
    return model


def run_named(text: str) -> Path | None:
    """Return the run folder that `text` names, itself or by the weights in it; None for another target."""
    path = Path(text)
    if path.is_dir() or not (":" in text or path.suffix):
        return path
    return path.parent if path.name == MODEL and (path.parent / RECIPE).is_file() else None


def data_of(target: str, subject: ModelSource, source: str | None, size: int | None = None) -> DataSet:
    """Load the images of `source`, or else those of the network's recipe; `size` scales and crops them to squares."""
    recipe = subject.recipe
    if recipe is not None:
        return load_for(recipe, source, size)
    if source is None:
        raise UsageError(f"{target} has no data set of its own; name one with --data, for example digits.")
    return data.load(source, size=size, bins=getattr(subject.model, "timesteps", None))


def load_for(recipe: Recipe, source: str | None = None, size: int | None = None) -> DataSet:
    """Load the data set of a recipe, or `source` as the recipe's; events get as many bins as there are timesteps."""
    return data.load(source or recipe.data.source, size=size or recipe.data.size, bins=recipe.snn.timesteps)


def load_attack(text: str) -> None:
    """Register an attack named FILE.py:FUNCTION or MODULE:FUNCTION, with or without options; leave other texts alone.

    The file is executed: only a text that the user wrote may come here, never one from a stored file.
    """
    name = read_call(text, "attack").name
    if ":" not in name:
        return
    code = UserCode.parse(name)
    attack = code.callable("add one: (model, images, labels, *, eps=8/255) -> images")
    # The digest covers what the file imports from its own folder: results must not outlive a change there either.
    files = json.dumps(code.files(), sort_keys=True)
    register(code.text, attack, source=hashlib.sha256(files.encode()).hexdigest())


def audit_folder(text: str, source: ModelSource) -> Path:
    """Return RUN/audit for a run, audits/NAME for a network of the zoo, else audits/PATH/NAME of the file."""
    if source.folder:
        return source.folder / "audit"
    if source.kind == "run":
        return Path("audits") / source.name
    parent = Path(text if source.kind == "file" else text.rpartition(":")[0]).resolve().parent
    here = Path.cwd()
    path = parent.relative_to(here) if parent.is_relative_to(here) else Path(*parent.parts[1:])
    return Path("audits") / path / source.name
