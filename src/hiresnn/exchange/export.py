"""Export of a spiking network, and at once the comparison of what was written with the network on images.

The comparison says what changes: decisions, accuracy, and the first layer whose spikes differ.
"""

import copy
import importlib.util
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.checks import Accuracy, require_batch
from hiresnn.errors import UsageError, closest
from hiresnn.exchange.native import LIBRARIES, require_replaceable, unsupported_neurons, write_native
from hiresnn.exchange.nir import (
    DIALECTS,
    READERS,
    is_exported_nir,
    norse_reads,
    optional,
    run_nir,
    unsupported,
    write_nir,
)
from hiresnn.exchange.step_graph import StepGraph, require_direct, step_graph
from hiresnn.files import write_atomically
from hiresnn.modes import evaluating
from hiresnn.network import SpikingNetwork, record

FORMATS = ("nir", "onnx", *LIBRARIES)
"""What a network can be exported to."""
_SUFFIXES = {"nir": (".nir", ".h5", ".hdf5"), "onnx": (".onnx",), **dict.fromkeys(LIBRARIES, (".py",))}
_COMPARED = 64
"""Images in a Python file, with which it compares itself."""


BATCH = 32
"""Images that are compared at once: the spikes of all layers and timesteps are in memory."""
Answers = tuple[Tensor, Mapping[str, Tensor]]
"""Logits [B, K], and for each layer of neurons its spikes [T, B, ...]; {} where they cannot be seen."""
Runner = Callable[[Tensor], Answers]


@dataclass
class Comparison:
    """A network beside the same network as another program, `name`, computes it, on the same images.

    Attributes:
        before, after: accuracies.
        decisions: images whose class differs.
        logits: largest difference of a logit.
        spikes: layer -> spikes that differ, over all images and timesteps, in the order of the layers; {} if the other
            program does not show its spikes.
    """

    name: str
    before: Accuracy = field(default_factory=Accuracy)
    after: Accuracy = field(default_factory=Accuracy)
    images: int = 0
    decisions: int = 0
    logits: float = 0.0
    spikes: dict[str, int] = field(default_factory=dict)

    def update(self, ours: Answers, theirs: Answers, labels: Tensor) -> None:
        logits, changed, labels = ours[0].cpu().double(), theirs[0].cpu().double(), labels.cpu()
        self.before.update(logits.float(), labels)
        self.after.update(changed.float(), labels)
        self.images += len(labels)
        broken = logits.isfinite().all(1) != changed.isfinite().all(1)
        self.decisions += int(((logits.argmax(1) != changed.argmax(1)) | broken).sum())
        self.logits = max(self.logits, float((logits - changed).abs().nan_to_num(math.inf, math.inf).max()))
        for layer in (name for name in ours[1] if name in theirs[1]):
            spikes = ours[1][layer].cpu()
            differing = int((spikes != theirs[1][layer].cpu().reshape(spikes.shape)).sum())
            self.spikes[layer] = self.spikes.get(layer, 0) + differing

    @property
    def first_layer(self) -> str:
        """The first layer whose spikes differ; "" if none does or they are not known."""
        return next((layer for layer, differing in self.spikes.items() if differing), "")

    def __str__(self) -> str:
        text = f"{self.name}: clean {self.before.compute():.1f} -> {self.after.compute():.1f}, "
        text += f"{self.decisions} of {self.images} decisions change"
        return text + (f", first layer that differs: {self.first_layer}" if self.first_layer else "")


def compare(
    network: SpikingNetwork,
    others: Mapping[str, Runner],
    images: Tensor,
    labels: Tensor,
    names: Mapping[str, str] | None = None,
) -> list[Comparison]:
    """Compare a network, in eval mode, with other programs on images [N, C, H, W] in [0, 1] with labels [N].

    `others`: name -> a function, images [B, C, H, W] -> logits and spikes by layer. `names`: layer of the network ->
    its name in these spikes, if that is another one.
    """
    comparisons = {name: Comparison(name) for name in others}
    for batch, classes in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
        ours = answers(network, batch, names)
        for name, other in others.items():
            comparisons[name].update(ours, other(batch), classes)
    return [*comparisons.values()]


@torch.no_grad()
def answers(network: SpikingNetwork, images: Tensor, names: Mapping[str, str] | None = None) -> Answers:
    """Return the logits and spikes of a network in eval mode."""
    device = next(network.parameters()).device
    with evaluating(network), record(network) as spikes:
        logits = network(images.to(device))
    return logits, {(names or {}).get(layer, layer): trains for layer, trains in spikes.items()}


@dataclass(frozen=True)
class Export:
    """What an export wrote, and how it compares with the network.

    Attributes:
        files: paths of what was written.
        unsupported: what the format cannot express of this network.
        comparisons: one for each program that may read the files; empty if none can be run here.
    """

    files: tuple[Path, ...]
    unsupported: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"written: {', '.join(map(str, self.files))}", *(f"changes: {change}" for change in self.unsupported)]
        return "\n".join([*lines, *map(str, self.comparisons)])


def export(
    network: SpikingNetwork, path: str | Path, images: Tensor, labels: Tensor, *, to: str, reader: str = "portable",
    source: str = "network",
) -> Export:  # fmt: skip
    """Write a network in the format of another program and compare what was written with the network.

    Args:
        network: with direct encoding; it does not change.
        path: of the file.
        images, labels: [N, C, H, W] in [0, 1] and their classes [N], for the comparison; such as 200 test images.
        to: one of `FORMATS`: "nir", "onnx", or a Python file for "snntorch", "spikingjelly" or "sinabs".
        reader: of a NIR file, one of `DIALECTS`; "portable" is read alike by snnTorch, SpikingJelly and norse.
        source: name of the network for titles.

    Returns:
        The files with the comparison; `print` it.

    Raises:
        UsageError: `require_target` refuses the path or the format, a package that the format needs is missing, or it
            cannot express a layer.

    Example:
        >>> print(export(network, "net.nir", images, labels, to="nir"))  # doctest: +SKIP
        written: net.nir
        changes: reset = "subtract" becomes a reset to zero; train with snn.reset = "zero" to keep it
        snnTorch, norse (simulated): clean 97.7 -> 97.2, 3 of 120 decisions change, first layer that differs: relu1
    """
    path = Path(path)
    require_target(path, to=to, reader=reader)
    require_batch(images, labels, empty=False)
    if to == "onnx":
        write_onnx(network, path, images)
        return Export((path,), [], compare(network, {"onnxruntime": onnx_runner(path)}, images, labels))
    graph = step_graph(network, images[:1])
    names = dict(zip(network.neurons, (node.name for node in graph.neurons), strict=True))
    simulated: dict[str, Runner] = {}
    libraries: dict[str, Callable[[], Runner]] = {}
    files: tuple[Path, ...] = (path,)
    if to == "nir":
        write_nir(graph, path, reader)
        changes = unsupported(graph, reader)
        simulated = _simulated_readers(path, reader, graph.timesteps)
        readable = ("snntorch", "norse") if norse_reads(graph) else ("snntorch",)
        libraries = library_readers(path, graph, [name for name in readable if reader in ("portable", name)], reader)
    else:
        logits, _ = answers(network, images[:_COMPARED])
        files = (path, write_native(graph, path, to, images[:_COMPARED], logits, source))
        changes = unsupported_neurons(graph, to)
        if to != "spikingjelly" and importlib.util.find_spec(to) is not None:
            libraries = {LIBRARIES[to].title: partial(_native_runner, path, graph)}
    comparisons = compare(network, simulated, images, labels, names)
    for name, read in libraries.items():
        try:
            comparisons += compare(network, {name: read()}, images, labels, names)
        except Exception as error:  # code of the library
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            changes.append(f"{name} is installed but cannot run the file, so it is not compared ({reason})")
    return Export(files, changes, comparisons)


def require_target(path: Path, *, to: str, reader: str = "portable") -> None:
    """Raise UsageError if the format is unknown, `path` cannot be such a file, or is a file that no export wrote."""
    if to not in FORMATS:
        raise UsageError(f"format is {to!r}; {closest(to, FORMATS)}.")
    if reader != "portable" and to != "nir":
        raise UsageError(f"reader is {reader!r}, but only a NIR file has dialects; leave it out, or export to nir.")
    suffix = _SUFFIXES[to][0]
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it, such as {path / f'mine{suffix}'}.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}; create it, or write {path.name} to another one.")
    if path.suffix.lower() not in _SUFFIXES[to]:
        raise UsageError(f"{path} does not end in {suffix}, as a file of --to {to} must; name {path.stem}{suffix}.")
    if to in LIBRARIES:
        require_replaceable(path)
    elif path.exists() and not (is_exported_nir if to == "nir" else is_exported_onnx)(path):
        raise UsageError(f"{path} exists, was not written by hiresnn export, and is not replaced; name a new file.")


def _simulated_readers(path: Path, reader: str, timesteps: int) -> dict[str, Runner]:
    graph = optional("nir", "nir").read(path)
    semantics = {title: READERS[title]._replace(dt=DIALECTS[reader]) for title in READERS if title.lower() == reader}
    if not semantics:  # portable
        semantics = {"snnTorch, norse": READERS["NIR"], "SpikingJelly": READERS["SpikingJelly"]}
    return {
        f"{title} (simulated)": partial(run_nir, graph, timesteps=timesteps, reader=semantic)
        for title, semantic in semantics.items()
    }


def _native_runner(path: Path, graph: StepGraph) -> Runner:
    """Import a Python file that `write_native` wrote, as a function from images to its logits and spikes."""
    spec = importlib.util.spec_from_file_location(f"hiresnn_export_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network()
    return _watched(network, dict(network.timestep.named_modules()), graph)


def library_readers(path: Path, graph: StepGraph, names: Sequence[str], reader: str) -> dict[str, Callable[[], Runner]]:
    """Return a call that reads the NIR file, for each of these libraries that is installed."""
    titles = {"snntorch": "snnTorch", "norse": "norse"}
    installed = [name for name in names if importlib.util.find_spec("nirtorch") and importlib.util.find_spec(name)]
    return {
        f"{titles[name]} {version(name)}": partial(_nir_runner, path, graph, name, DIALECTS[reader])
        for name in installed
    }


def _nir_runner(path: Path, graph: StepGraph, library: str, dt: float) -> Runner:
    """Read a NIR file by snnTorch or norse, as a function from images to its logits and spikes."""
    with quiet():
        nodes = import_module("nir").read(path)
        if library == "norse":
            network = import_module("norse.torch").from_nir(nodes, dt=dt)
        else:
            network = import_module("snntorch.import_nir").import_from_nir(nodes)
    modules = dict(network.named_modules())

    def present(image: Tensor) -> Tensor:
        for module in modules.values():
            if callable(reset := getattr(module, "reset_mem", None)):  # snnTorch goes on from the image before
                reset()
        state, total = None, torch.zeros(())
        for _ in range(graph.timesteps):
            output, state = network(image, state)
            total = total + output.reshape(1, -1)
        return total

    run = _watched(present, modules, graph)

    def one_by_one(images: Tensor) -> Answers:  # the libraries' Flatten would flatten a batch as well
        logits, spikes = zip(*map(run, torch.split(images, 1)), strict=True)
        return torch.cat(logits), {
            name: torch.stack([trains[name].reshape(graph.timesteps, -1) for trains in spikes], 1) for name in spikes[0]
        }

    return one_by_one


def _watched(network: Callable[[Tensor], Tensor], modules: Mapping[str, nn.Module], graph: StepGraph) -> Runner:
    """Return a function from images to the logits of `network` and what its neurons return, stacked over the calls."""
    spikes: dict[str, list[Tensor]] = {node.name: [] for node in graph.neurons}

    def keep(steps: list[Tensor], _: nn.Module, inputs: Any, output: Any) -> None:
        steps.append(output[0] if isinstance(output, tuple) else output)

    for name, steps in spikes.items():
        modules[name].register_forward_hook(partial(keep, steps))

    @torch.no_grad()
    def run(images: Tensor) -> Answers:
        for steps in spikes.values():
            steps.clear()
        logits = network(images.cpu().float())
        return logits, {name: torch.stack(steps) for name, steps in spikes.items()}

    return run


def write_onnx(network: SpikingNetwork, path: Path, images: Tensor) -> None:
    """Write a network as an ONNX file with input "images" and output "logits"."""
    optional("onnx", "onnx")
    optional("onnxscript", "onnx")
    require_direct(network)
    subject = copy.deepcopy(network).cpu().float().eval().fuse(False).requires_grad_(False)
    pair = torch.cat([images[:1]] * 2).cpu().float()  # torch.export takes a dimension of 1 for a constant
    batch = torch.export.Dim("batch", min=1, max=2**20)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            subject, (pair,), dynamo=True, input_names=["images"],
            output_names=["logits"], dynamic_shapes=({0: batch},), verbose=False,
        )  # fmt: skip
        assert program is not None
        model = program.model_proto
    model.producer_name = "hiresnn"  # see is_exported_onnx
    write_atomically(path, model.SerializeToString())


def is_exported_onnx(path: Path) -> bool:
    """Tell whether `write_onnx` wrote a file."""
    onnx = optional("onnx", "onnx")
    try:
        return bool(onnx.load(path, load_external_data=False).producer_name == "hiresnn")
    except Exception:  # of onnx or protobuf, for whatever else is in the file
        return False


def onnx_runner(path: Path) -> Runner:
    """Return a function that computes logits by onnxruntime, on the CPU."""
    session = optional("onnxruntime", "onnx").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Answers:
        (logits,) = session.run(["logits"], {"images": images.cpu().float().numpy()})
        return torch.from_numpy(logits), {}

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what a package prints, logs and warns of below an error; an error still raises."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
