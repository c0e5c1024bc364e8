"""Networks of snnTorch, SpikingJelly and sinabs: written as a Python file with weights beside it, and read as modules.

Without the semantics of an exchange file between them, the neurons of these libraries compute exactly Eq. 1. The
package imports none of them: it writes source text, and knows a neuron by the attributes of its library.
"""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.exchange.nir import Values, set_neurons
from hiresnn.exchange.step_graph import INPUT, StepGraph, StepNode
from hiresnn.files import write_together
from hiresnn.models import Normalise
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import LIF, Condition, Reset


class Library(NamedTuple):
    """How a library spells a neuron; its imports and resets are in templates/network.py.jinja."""

    title: str
    neuron: Callable[[LIF], str]  # the expression that builds it; UsageError if there is none
    inclusive: bool  # its neurons spike where the membrane equals the threshold


def _snntorch(lif: LIF) -> str:
    delayed = lif.reset == "subtract-unleaked"  # that is what the library calls a delay
    reset = "zero" if lif.reset == "zero" else "subtract"
    return (
        f"{'snntorch.' if delayed else ''}Leaky(beta={lif.leak.item()!r}, threshold={lif.threshold.item()!r}, "
        f'init_hidden=True, reset_mechanism="{reset}", reset_delay={delayed})'
    )


def _spikingjelly(lif: LIF) -> str:
    leak, reset = lif.leak.item(), "0.0" if lif.reset == "zero" else "None"
    common = f"v_threshold={lif.threshold.item()!r}, v_reset={reset}, detach_reset=True"
    if leak == 1:
        return f"neuron.IFNode({common})"
    if leak == 0:
        raise UsageError("SpikingJelly has no neuron with leak 0; export to snntorch.")
    return f"neuron.LIFNode(tau={1 / (1 - leak)!r}, decay_input=False, {common})"


def _sinabs(lif: LIF) -> str:
    leak, reset = lif.leak.item(), "MembraneReset" if lif.reset == "zero" else "MembraneSubtract"
    common = f"spike_threshold=torch.tensor({lif.threshold.item()!r}), spike_fn=activation.SingleSpike, "
    common += f"reset_fn=activation.{reset}(), num_timesteps=1"
    if leak == 1:
        return f"layers.IAFSqueeze({common})"
    tau = -1 / math.log(leak) if leak else 1e-3
    return f"layers.LIFSqueeze(tau_mem={tau!r}, norm_input=False, {common})"


LIBRARIES = {
    "snntorch": Library("snnTorch", _snntorch, inclusive=False),
    "spikingjelly": Library("SpikingJelly", _spikingjelly, inclusive=True),
    "sinabs": Library("sinabs", _sinabs, inclusive=True),
}
_LOGITS = "check.logits"


def write_native(graph: StepGraph, path: Path, library: str, images: Tensor, logits: Tensor, source: str) -> Path:
    """Write a network as a Python file, which checks itself on `images`; return the path of its weights."""
    weights, tensors = path.with_suffix(".safetensors"), {"check.images": images, _LOGITS: logits}
    for node in graph.nodes:
        if not isinstance(node.layer, LIF):
            tensors |= {f"{node.name}.{name}": value for name, value in node.layer.state_dict().items()}
    stored = save({name: value.detach().cpu().float().contiguous().clone() for name, value in tensors.items()})
    spelling = LIBRARIES[library]
    layers = [(node.name, _expression(node, spelling), _sum(node.sources) + _start(node)) for node in graph.nodes]
    starts = any(_start(node) for node in graph.nodes)
    normalised = any(isinstance(node.layer, Normalise) for node in graph.nodes)
    loader = PackageLoader("hiresnn.exchange")
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    text = templates.get_template("network.py.jinja").render(
        source=_in_docstring(source), title=spelling.title, file=_in_docstring(path.name), weights=repr(weights.name),
        library=library, timesteps=graph.timesteps, layers=layers, normalised=normalised, starts=starts,
        output=_sum(graph.outputs),
    )  # fmt: skip
    write_together({weights: stored, path: text.encode()})
    return weights


def require_replaceable(path: Path) -> None:
    """Raise UsageError for a Python file that exists and that no export wrote, or such weights beside it."""
    if path.is_file() and "written by hiresnn" not in path.read_text("utf-8", "replace"):
        raise UsageError(f"{path} exists, was not written by hiresnn export, and is not replaced; name a new file.")
    weights, exported = path.with_suffix(".safetensors"), True
    if weights.exists():
        try:
            with safe_open(weights, "pt") as file:
                exported = _LOGITS in file.keys()  # noqa: SIM118  it is no dictionary
        except (OSError, SafetensorError):
            exported = False
    if not exported:
        raise UsageError(f"{weights}, which hiresnn export did not write, would be replaced; name another file.")


def unsupported_neurons(graph: StepGraph, library: str) -> list[str]:
    """Return what changes in the neurons of a library, as sentences without a full stop."""
    inclusive = LIBRARIES[library].inclusive
    if all(node.layer.fires_at_threshold == inclusive for node in graph.neurons):
        return []
    sign = ">=" if inclusive else ">"
    return [f'a neuron of {LIBRARIES[library].title} spikes at u {sign} threshold; train with snn.condition = "{sign}"']


def _in_docstring(text: str) -> str:
    """Return a text without what would end a docstring, or mean something else in it."""
    return "".join(letter if letter.isprintable() and letter not in '"\\' else "_" for letter in text)


def _sum(sources: Sequence[str]) -> str:
    return " + ".join("images" if source == INPUT else source for source in sources)


def _start(node: StepNode) -> str:
    """What the first input of neurons gets in addition, because those of the libraries start at 0 and not at v_init."""
    layer = node.layer
    if not isinstance(layer, LIF) or not layer.v_init:
        return ""
    return f" + first * {(layer.v_init * layer.threshold).item()!r}"


def _expression(node: StepNode, spelling: Library) -> str:
    layer: Any = node.layer
    if isinstance(layer, Normalise):
        return f"Normalise({layer.mean.numel()})"
    if not isinstance(layer, LIF):
        return f"nn.{layer!r}"  # how torch prints a layer is how it is built
    if layer.reset == "subtract-unleaked" and layer.leak.item() != 1 and spelling.title != "snnTorch":
        raise UsageError(
            f'layer {node.name!r} has reset "subtract-unleaked" and a leak, which {spelling.title} does not know; '
            'export to snntorch, or train with snn.reset = "subtract".'
        )
    try:
        return spelling.neuron(layer)
    except UsageError as error:
        raise UsageError(f"layer {node.name!r}: {error}") from None


_RESETS: dict[tuple[str, bool], Reset] = {
    ("subtract", False): "subtract",
    ("subtract", True): "subtract-unleaked",  # one step later, so after the leak
    ("zero", False): "zero",
}
"""reset_mechanism and reset_delay of a Leaky -> the same reset of ours."""


def from_snntorch(network: nn.Module, timesteps: int) -> SpikingNetwork:
    """Return a snnTorch network as a network of hiresnn with the same spikes, in eval mode.

    One case differs: with reset_delay=False and a reset by subtraction, snnTorch resets a membrane above twice the
    threshold once more in the next step.

    Args:
        network: one timestep of the network: images [B, C, H, W] -> spikes or logits, with `Leaky` neurons that keep
            their state (init_hidden=True), such as an nn.Sequential. It does not change.
        timesteps: T, for which the same images are presented. The logits are summed over it.

    Raises:
        UsageError: there is no Leaky, or one that cannot be imported; the message names it.
    """
    return _imported(network, timesteps, "snnTorch", "reset_mechanism", _leaky, ">")


def from_spikingjelly(network: nn.Module, timesteps: int) -> SpikingNetwork:
    """Return a SpikingJelly network as a network of hiresnn with the same spikes, in eval mode.

    Args:
        network: one timestep of the network: images [B, C, H, W] -> spikes or logits, with `IFNode` and `LIFNode`
            neurons in step mode s. It does not change.
        timesteps: T, for which the same images are presented. The logits are summed over it.

    Raises:
        UsageError: there is no IFNode or LIFNode, or one that cannot be imported; the message names it.
    """
    return _imported(network, timesteps, "SpikingJelly", "surrogate_function", _node, ">=")


def _imported(
    network: nn.Module,
    timesteps: int,
    library: str,
    mark: str,
    read: Callable[[str, Any], tuple[Values, Reset]],
    condition: Condition,
) -> SpikingNetwork:
    """Replace every module with the attribute `mark` by a ReLU, convert, and set the values of the neurons."""
    root = copy.deepcopy(network)
    neurons: dict[str, Values] = {}
    resets: set[Reset] = set()
    for name, neuron in list(root.named_modules()):
        if hasattr(neuron, mark):
            neurons[name], reset = read(name, neuron)
            resets.add(reset)
            root.set_submodule(name, nn.ReLU())
    if len(resets) != 1:
        problem = f"neurons with the resets {', '.join(sorted(resets))}" if resets else f"no neuron of {library}"
        raise UsageError(f"{type(network).__name__} has {problem}; only a network with one kind can be imported.")
    imported = spiking_graph(root, timesteps, reset=resets.pop(), condition=condition, max_pool="spikes").eval()
    if imported.neurons.keys() != neurons.keys():
        other = min(imported.neurons.keys() ^ neurons.keys())
        raise UsageError(f"layer {other!r} is called several times or never, or is a ReLU, so it cannot be imported.")
    set_neurons(imported, neurons)
    return imported


def _leaky(name: str, neuron: Any) -> tuple[Values, Reset]:
    problem = ""
    if type(neuron).__name__ != "Leaky":
        problem = "only Leaky can"
    elif not neuron.init_hidden or getattr(neuron, "output", False):
        problem = "it must keep its state (init_hidden=True) and return spikes alone (output=False)"
    elif getattr(neuron, "inhibition", False) or float(getattr(neuron, "graded_spikes_factor", 1.0)) != 1:
        problem = "inhibition and graded spikes have no counterpart"
    elif (reset := (neuron.reset_mechanism, bool(getattr(neuron, "reset_delay", True)))) not in _RESETS:
        problem = f"its reset {reset[0]!r} with reset_delay={reset[1]} has no counterpart"
    elif neuron.threshold.numel() != 1 or neuron.beta.numel() != 1:
        problem = "it has several values of threshold or beta; a layer of hiresnn has one"
    if problem:
        raise UsageError(f"layer {name!r} ({type(neuron).__name__} of snnTorch) cannot be imported: {problem}.")
    return (float(neuron.threshold), min(max(float(neuron.beta), 0.0), 1.0)), _RESETS[reset]


def _node(name: str, neuron: Any) -> tuple[Values, Reset]:
    class_name, problem = type(neuron).__name__, ""
    if class_name not in ("IFNode", "LIFNode"):
        problem = "only IFNode and LIFNode can"
    elif getattr(neuron, "step_mode", "s") != "s":
        problem = "it takes all timesteps at once; call functional.set_step_mode(network, 's')"
    elif neuron.v_reset not in (None, 0):
        problem = f"v_reset is {neuron.v_reset}; only None and 0 can be imported"
    if problem:
        raise UsageError(f"layer {name!r} ({class_name} of SpikingJelly) cannot be imported: {problem}.")
    reset: Reset = "subtract" if neuron.v_reset is None else "zero"
    threshold = float(neuron.v_threshold)
    if class_name == "IFNode":
        return (threshold, 1.0), reset
    # v' = (1 - 1 / tau) v + x, or + x / tau with decay_input, where u = tau v.
    tau = float(neuron.tau)
    return (threshold * (tau if neuron.decay_input else 1), 1 - 1 / tau), reset
