"""hiresnn.fit: the training of the commands from Python, with any source of images, and a checkpoint to resume from."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hiresnn
from hiresnn.app.folder import MODEL
from hiresnn.app.networks import load as load_network
from hiresnn.app.recipe import override, read
from hiresnn.app.train import train
from hiresnn.data import Batches, Split, first, load
from hiresnn.errors import DataError, NotFiniteError, RunError, UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert
from hiresnn.neurons.compiled import compiled_in_place
from hiresnn.progress import Progress
from hiresnn.training import Method, Schedule, Selection, fit
from hiresnn.training.trainer import read_checkpoint, write_checkpoint

PIXELS = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
QUIET: dict[str, Any] = {"epochs": 2, "batch_size": 8, "lr": 0.01, "progress": False}


def ann(p=0.2):
    torch.manual_seed(0)
    dropout = nn.Dropout(p)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), dropout, nn.Linear(16, 3))


def snn(p=0.2):
    return convert(ann(p), PIXELS / 255, timesteps=4)


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def timeless(rows):
    return [{key: value for key, value in row.items() if key not in ("seconds", "stage")} for row in rows]


class StoppedError(Exception):
    """Stands in for whatever ends a training."""


def stop(row):
    """Stop a training after its second epoch; the state after the first is stored by then."""
    if row["epoch"] == 2:
        raise StoppedError


def stopped(path, **options):
    """The checkpoint of a training that was stopped."""
    with pytest.raises(StoppedError):
        fit(snn(), (PIXELS, LABELS), checkpoint=path, log=stop, **{**QUIET, **options})
    return path


TINY = {
    "method": "hire", "data.train_images": "160", "model.width": "0.125", "model.hidden": "32", "compile": "never",
    "ann.epochs": "3", "ann.batch_size": "32", "ann.lr": "0.05", "ann.milestones": "[0.625, 0.75, 0.875]",
    "snn.epochs": "2", "snn.batch_size": "32", "snn.lr": "0.005", "snn.timesteps": "4", "noise.step": "0.05",
    "conversion.images": "64", "seed": "3",
    "model.dropout": "0.0",  # the commands draw weights from the generator of the masks before they train
}  # fmt: skip


def test_fit_trains_the_ann_and_the_snn_of_the_command_to_the_last_bit(tmp_path):
    recipe = override(read("digits"), TINY)
    trained = load_network(train(recipe, out=tmp_path / "run", progress=Progress(quiet=True)) / MODEL)
    (ann_folder,) = (tmp_path / "ann").iterdir()
    expected = load_network(ann_folder / MODEL)
    split = first(load("digits").train, 160)
    options: dict[str, Any] = {**QUIET, "batch_size": 32, "seed": 3}

    torch.manual_seed(3)
    network = build(**expected.spec)
    fit(network, (split.images, split.labels), method="ann", **{**options, "lr": 0.05, "epochs": 3})
    assert same(weights(network), weights(expected))

    images, scale = first(split, 64).images / 255, recipe.conversion.threshold_scale
    spiking = convert(expected, images, timesteps=4, threshold_scale=scale).fuse(False)
    fit(spiking, (split.images, split.labels), noise_step=0.05, **{**options, "lr": 0.005})
    assert same(weights(spiking), weights(trained))


@pytest.mark.parametrize("source", ["tensors", "floats", "dataset", "loader", "batches"])
def test_a_training_resumed_from_its_checkpoint_ends_as_one_without_interruption(source, tmp_path):
    def images():
        dataset = TensorDataset(PIXELS, LABELS)
        return {
            "tensors": (PIXELS, LABELS),
            "floats": (PIXELS / 300, LABELS),
            "dataset": dataset,
            "loader": DataLoader(dataset, 7, shuffle=True),
            "batches": Batches(
                Split(PIXELS, LABELS), 7, shuffle=True, augment=True, generator=torch.Generator().manual_seed(5)
            ),
        }[source]

    whole = snn()
    expected = fit(whole, images(), **QUIET)
    with pytest.raises(StoppedError):
        fit(snn(), images(), checkpoint=tmp_path / "state.pt", log=stop, **QUIET)
    torch.rand(3)
    resumed = snn()
    result = fit(resumed, images(), checkpoint=tmp_path / "state.pt", **QUIET)
    assert same(weights(whole), weights(resumed))
    assert timeless(result.rows) == timeless(expected.rows)
    again = snn()  # A finished training is not trained again.
    fit(again, images(), checkpoint=tmp_path / "state.pt", **QUIET)
    assert same(weights(again), weights(whole))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_resumed_training_goes_on_with_the_generator_of_its_poisson_spikes(tmp_path):
    def poisson():
        torch.manual_seed(0)
        ann = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS[0].numel(), 8), nn.ReLU(), nn.Linear(8, 3))
        network = convert(ann, PIXELS / 300, timesteps=4, encoding="poisson")
        network.encoding.generator = torch.Generator().manual_seed(1)
        return network

    whole = poisson()
    fit(whole, (PIXELS, LABELS), **QUIET)
    with pytest.raises(StoppedError):
        fit(poisson(), (PIXELS, LABELS), checkpoint=tmp_path / "state.pt", log=stop, **QUIET)
    resumed = poisson()
    fit(resumed, (PIXELS, LABELS), checkpoint=tmp_path / "state.pt", **QUIET)
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("pays", [True, False])
def test_neurons_compile_before_the_first_batch_or_not_at_all_also_in_a_resumed_training(
    pays, tmp_path, monkeypatch, no_compiler
):
    fused: list[bool] = []
    work = 2 * 24 * 16 * 4  # epochs, images (three batches of 8), neurons, timesteps
    monkeypatch.setattr("hiresnn.network.spiking.COMPILING_PAYS_ABOVE", work - pays)
    network, options = snn(), {**QUIET, "checkpoint": tmp_path / "state.pt"}
    present = SpikingNetwork.present
    monkeypatch.setattr(SpikingNetwork, "present", lambda *args: (fused.append(args[0].fused), present(*args))[1])
    with pytest.raises(StoppedError):
        fit(network, (PIXELS, LABELS), log=stop, **options)
    assert fused == [False] + [pays] * 12  # the first counts the work; two periods of three batches in two epochs
    again = snn()
    fused.clear()
    fit(again, (PIXELS, LABELS), **options)
    assert fused == [False] + [pays] * 6
    assert again.compiles_when_it_pays is not pays


def test_compiling_can_be_chosen_and_is_said(no_compiler, capsys):
    for choice in (False, True):
        network = snn()
        fit(network, (PIXELS, LABELS), compile=choice, **{**QUIET, "epochs": 0, "progress": True})
        assert network.fused is choice
        assert ("Neurons are compiled" in capsys.readouterr().err) is choice


def test_a_compiled_ann_trains_as_one_that_is_not_and_a_resumed_training_ends_bit_for_bit_the_same(tmp_path, capsys):
    def network():
        torch.manual_seed(0)
        options = {"in_channels": 1, "image_size": 8, "width": 0.06, "dropout": 0.0, "batch_norm": True}
        return build("resnet9", 3, activation="qcfs", levels=4, **options)

    def trained(model, compile, **options):
        options = {**QUIET, "average": 0.5, "progress": True, **options}
        return fit(model, (PIXELS, LABELS), method="ann", compile=compile, **options).network

    whole = trained(network(), True)
    assert "The ANN is compiled" in capsys.readouterr().err
    assert whole._compiled_call_impl is None
    for name, tensor in trained(network(), False).state_dict().items():
        torch.testing.assert_close(whole.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    with pytest.raises(StoppedError):
        trained(network(), True, checkpoint=tmp_path / "state.pt", log=stop)
    assert same(weights(whole), weights(trained(network(), True, checkpoint=tmp_path / "state.pt")))


def test_a_compiled_network_is_one_graph():
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    with compiled_in_place(network := build("resnet9", 3, in_channels=1, image_size=8, width=0.06)), torch.no_grad():
        network(PIXELS / 255)
    assert counters["unique_graphs"] - before == 1


@pytest.mark.parametrize("compile", ["auto", True])
def test_a_short_training_and_a_network_of_the_user_are_not_compiled(compile, capsys):
    network = ann() if compile is True else build("resnet9", 3, in_channels=1, image_size=8, width=0.06)
    fit(network, (PIXELS, LABELS), method="ann", compile=compile, **{**QUIET, "progress": True})
    assert "compiled" not in capsys.readouterr().err


def test_a_data_loader_gives_the_batches_in_its_own_size_and_order():
    one, other = snn(0.0), snn(0.0)  # a DataLoader draws a seed from the generator of the masks
    by_loader = fit(one, DataLoader(TensorDataset(PIXELS / 255, LABELS), 6), **QUIET)
    by_hand = fit(
        other, [(part / 255, labels) for part, labels in zip(PIXELS.split(6), LABELS.split(6), strict=True)], **QUIET
    )
    assert same(weights(one), weights(other))
    assert timeless(by_loader.rows) == timeless(by_hand.rows)


def test_the_result_has_a_row_per_epoch_and_the_accuracy_on_the_test_images():
    network, rows = snn().eval(), []
    result = fit(network, (PIXELS, LABELS), (PIXELS, LABELS), log=rows.append, **QUIET)
    assert result.network is network
    assert result.rows == rows
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "train_accuracy", "lr", "seconds", "thresholds", "leaks"} < set(rows[0])
    correct = (network(PIXELS / 255).argmax(1) == LABELS).double().mean()
    assert result.test_accuracy == pytest.approx(100 * correct.item())
    assert fit(network, (PIXELS, LABELS), **QUIET).test_accuracy is None


@pytest.mark.parametrize("training", [True, False])
def test_fit_leaves_the_mode_of_the_network_and_the_random_state_of_torch(training):
    network = snn().train(training)
    state = torch.get_rng_state()
    fit(network, (PIXELS, LABELS), (PIXELS, LABELS), **QUIET)
    assert network.training is training
    assert torch.equal(torch.get_rng_state(), state)


def test_fit_does_not_write_the_rounding_into_the_method_of_the_caller():
    method = Method()
    fit(snn(), (PIXELS, LABELS), method=method, rounding="int4", **QUIET)
    assert method.rounding is None


def test_the_method_rate_converts_an_ann_to_a_network_with_poisson_input():
    network = fit(ann(), (PIXELS, LABELS), method="rate", timesteps=2, **QUIET).network
    assert network.encoding.encoding == "poisson"


def test_a_label_beyond_the_classes_of_the_network_is_refused_with_epoch_and_batch():
    with pytest.raises(DataError, match=r"epoch 1 of 2: a label is not a class .* batch \d \(Target 7"):
        fit(snn(), (PIXELS, LABELS.clone().index_fill_(0, torch.tensor([19]), 7)), **QUIET)


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (snn, {"method": "ann"}, "trains an ANN, not a SpikingNetwork"),
        (snn, {"method": "fire"}, "method is 'fire'; did you mean .hire.. choose one of"),
        (snn, {"method": "converted"}, "fit has nothing to train"),
        (ann, {"method": "anm"}, r"method is 'anm'; did you mean .ann.. choose one of ann, consistency, free"),
        (lambda: ann().requires_grad_(False), {"method": "ann"}, "no parameter of the network is trained"),
        (snn, {"epochs": -1}, "epochs is -1"),
        (snn, {"lr": 0.0}, r"lr is 0\.0"),
        (snn, {"precision": "float16"}, "precision is 'float16'"),
        (snn, {"batch_size": 0}, "batch_size is 0"),
        (snn, {"periods": 5}, "periods is 5 and timesteps is 4"),
        (snn, {"noise_step": -1.0}, "noise_step is -1; give pixel units from 0 to 1, such as 8 / 255"),
        (snn, {"noise_step": 8}, "noise_step is 8; give pixel units"),
        (snn, {"train": (PIXELS[:0], LABELS[:0])}, "train has no images"),
        (snn, {"train": []}, "train has no images"),
        (snn, {"train": PIXELS}, r"train has no labels; give \(images, labels\)"),
        (snn, {"train": (PIXELS.float(), LABELS)}, "train"),
        (snn, {"test": (PIXELS.float() - 1, LABELS)}, "test"),
        (snn, {"checkpoint": "nowhere/state.pt"}, "there is no folder nowhere; create it"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_first_epoch(network, change, message):
    given = {"train": (PIXELS, LABELS), **QUIET, **change}
    with pytest.raises((UsageError, DataError), match=message):
        fit(network(), given.pop("train"), log=lambda row: pytest.fail("trained"), **given)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    fit(snn(), (PIXELS, LABELS), checkpoint=path, **QUIET)
    small = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    table: list[tuple[Any, Any, dict[str, Any], str]] = [
        (snn(), (PIXELS, LABELS), {"lr": 0.02, "seed": 4}, r"with lr 0\.01, not 0\.02, seed 0, not 4; use those, name"),
        (snn(), (PIXELS[:2], LABELS[:2]), {}, r"batches \d+, not 1, other images"),
        (snn(), (255 - PIXELS, LABELS), {}, "is of a training with other images"),
        (convert(small, PIXELS / 255, timesteps=4), (PIXELS, LABELS), {}, "does not fit .*size mismatch"),
        (snn(), (PIXELS, LABELS), {"settings": {"stage": "SNN"}}, "with stage None, not SNN; .* delete this one to"),
    ]
    for network, images, change, message in table:
        with pytest.raises(RunError, match=message):
            fit(network, images, checkpoint=path, **{**QUIET, **change})


def test_a_run_of_version_0_2_goes_on(tmp_path):
    """Its state has the stage and the semantics beside the other values; that of `fit` had no seal."""
    whole, settings = snn(), {"semantics": 1, "stage": "SNN"}
    fit(whole, (PIXELS, LABELS), **QUIET)
    path = stopped(tmp_path / "resume.pt", settings=settings)
    state = read_checkpoint(path)
    stored = {**state.pop("settings"), **state}
    for seal in (True, False):
        torch.save(stored, path)
        if seal:
            write_checkpoint(path, stored)
        resumed = snn()
        fit(resumed, (PIXELS, LABELS), checkpoint=path, settings=settings, **QUIET)
        assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("part", ["noise", "order", "random", "optimizer"])
def test_each_part_of_a_checkpoint_matters(tmp_path, part):
    whole = snn()
    fit(whole, (PIXELS, LABELS), **QUIET)
    path = stopped(tmp_path / "state.pt")
    state, other = read_checkpoint(path), read_checkpoint(stopped(tmp_path / "other.pt", seed=1))
    if part in ("noise", "random"):
        state["ranks"][0][part] = other["ranks"][0][part]
    else:
        state[part] = other[part]
    write_checkpoint(path, state)
    resumed = snn()
    fit(resumed, (PIXELS, LABELS), checkpoint=path, **QUIET)
    assert not same(weights(whole), weights(resumed))


@pytest.mark.parametrize("part", ["model", "optimizer", "ranks", "noise", "random", "order", "rows"])
def test_a_checkpoint_without_one_of_its_parts_is_refused(tmp_path, part):
    path = stopped(tmp_path / "state.pt")
    state = read_checkpoint(path)
    del (state["ranks"][0] if part in ("noise", "random") else state)[part]
    write_checkpoint(path, state)
    with pytest.raises(RunError, match=rf"state\.pt does not fit this training \('{part}'\)"):
        fit(snn(), (PIXELS, LABELS), checkpoint=path, **QUIET)


def test_a_checkpoint_of_a_machine_with_gpus_goes_on_without_them(tmp_path):
    path = stopped(tmp_path / "state.pt")
    state = read_checkpoint(path)
    state["ranks"][0]["cuda_random"] = [torch.get_rng_state()] * 8
    write_checkpoint(path, state)
    fit(snn(), (PIXELS, LABELS), checkpoint=path, **QUIET)
    assert read_checkpoint(path)["ranks"][0]["cuda_random"] == []


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "list", "code"])
def test_a_damaged_checkpoint_is_refused_and_runs_no_code(tmp_path, damage):
    path, victim = tmp_path / "state.pt", tmp_path / "victim"
    write_checkpoint(path, {"model": torch.full((100,), 0.5)})
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x00\x3f" * 20) + 8] ^= 1
    if damage == "list":
        write_checkpoint(path, [1])
    elif damage == "code":
        torch.save({"stage": Malicious(victim)}, path)
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-1], "bit": bytes(content)}[damage])
    with pytest.raises(RunError, match=r"state\.pt is damaged \(\w+\); delete it to train from the start"):
        read_checkpoint(path)
    assert not victim.exists()


def test_a_training_that_diverges_names_epoch_and_rate_and_keeps_the_last_good_state(tmp_path):
    with pytest.raises(NotFiniteError, match=r"epoch 1 of 2: .* Lower the learning rate, which is 1e\+38"):
        fit(snn(), (PIXELS, LABELS), **{**QUIET, "lr": 1e38})
    path, network = tmp_path / "state.pt", snn()

    def poison(row):
        if row["epoch"] == 1:
            list(network.parameters())[-1].register_hook(lambda gradient: gradient * math.nan)

    with pytest.raises(NotFiniteError, match="epoch 2 of 2"):
        fit(network, (PIXELS, LABELS), checkpoint=path, log=poison, **QUIET)
    assert all(tensor.isfinite().all() for tensor in read_checkpoint(path)["model"].values())
    fit(snn(), (PIXELS, LABELS), checkpoint=path, **QUIET)


def test_progress_goes_to_standard_error_or_nowhere(capfd):
    fit(snn(), (PIXELS, LABELS), **QUIET)
    assert capfd.readouterr() == ("", "")
    fit(snn(), (PIXELS, LABELS), **{**QUIET, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("Training: 6 batches in ")


@pytest.mark.parametrize("source", ["tensors", "dataset", "loader"])
def test_an_ann_is_converted_before_it_is_trained_by_a_method_of_spiking_networks(source, capfd):
    dataset = TensorDataset(PIXELS / 255, LABELS)
    images = {"tensors": (PIXELS, LABELS), "dataset": dataset, "loader": DataLoader(dataset, 8, shuffle=True)}[source]
    network = ann()
    before, mode = weights(network), network.training
    result = fit(network, images, (PIXELS, LABELS), timesteps=5, **{**QUIET, "progress": True})
    assert result.network.timesteps == 5
    assert len(result.rows) == 2
    assert result.test_accuracy is not None
    assert same(weights(network), before)
    assert network.training == result.network.training == mode
    call = "convert(ann, images, timesteps=5, conversion='closest'); result.network"
    assert call in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize("options", [{"conversion": "closest"}, {"conversion": "paper"}, {}], ids=str)
def test_fit_converts_as_convert_with_the_same_conversion_which_is_closest_by_default(options):
    network = ann()
    converted = fit(network, (PIXELS, LABELS), method="traditional", **{**QUIET, "epochs": 0, **options}).network
    expected = hiresnn.convert(network.eval(), PIXELS / 255, **{"conversion": "closest", **options})
    assert converted.timesteps == expected.timesteps == 6
    with torch.no_grad():
        torch.testing.assert_close(converted.eval()(PIXELS / 255), expected(PIXELS / 255))


def test_what_torch_compile_made_of_a_network_is_trained_like_the_network():
    plain, compiled = snn(), torch.compile(snn(), backend="eager")
    found = fit(compiled, (PIXELS, LABELS), **QUIET).network
    assert isinstance(found, SpikingNetwork)
    assert same(weights(fit(plain, (PIXELS, LABELS), **QUIET).network), weights(found))
    made = fit(torch.compile(ann(), backend="eager"), (PIXELS, LABELS), timesteps=2, **QUIET).network
    assert isinstance(made, SpikingNetwork)


def test_an_epoch_whose_log_failed_is_logged_when_the_training_goes_on(tmp_path):
    seen: list[int] = []

    def log(row):
        if row["epoch"] == 2 and len(seen) == 1:
            seen.append(0)
            raise OSError("the tracker is away")
        seen.append(row["epoch"])

    options = {**QUIET, "epochs": 3, "checkpoint": tmp_path / "state.pt", "log": log}
    with pytest.raises(OSError, match="away"):
        fit(snn(), (PIXELS, LABELS), **options)
    fit(snn(), (PIXELS, LABELS), **options)
    assert seen == [1, 0, 2, 3]


def test_an_ann_that_cannot_be_rescaled_is_converted_without_and_a_line_says_so(capsys):
    """Its two layers of neurons are concatenated. Each warning of the conversion comes once."""

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = nn.Linear(16, 4), nn.Linear(16, 4), nn.Linear(8, 3)

        def forward(self, x):
            x = x.flatten(1)
            return self.out(torch.cat([torch.relu(self.one(x)), torch.relu(self.two(x))], 1))

    torch.manual_seed(0)
    result = hiresnn.fit(Joined(), (torch.rand(8, 1, 4, 4), torch.arange(8) % 3), epochs=0)
    assert 'with conversion="paper" instead, without rescale: ' in capsys.readouterr().err
    assert isinstance(result.network, SpikingNetwork)


def test_numbers_of_numpy_are_stored_in_a_checkpoint_that_resumes(tmp_path):
    options = {**QUIET, "lr": np.float64(0.01), "noise_step": np.float32(0.013), "seed": np.int64(1)}
    whole = snn()
    fit(whole, (PIXELS, LABELS), **options)
    for log in (stop, None):
        resumed = snn()
        with suppress(StoppedError):
            fit(resumed, (PIXELS, LABELS), checkpoint=tmp_path / "state.pt", log=log, **options)
    assert same(weights(whole), weights(resumed))


def test_an_optimizer_of_the_ann_is_refused_where_the_converted_network_is_trained():
    network = ann()
    optimizer = torch.optim.Adam(network.parameters())
    with pytest.raises(UsageError, match="the optimizer has no parameter of the network that is trained"):
        fit(network, (PIXELS, LABELS), method="traditional", optimizer=optimizer, **QUIET)


def test_selection_and_rounding_exclude_each_other():
    selection = Selection(PIXELS / 255, LABELS, 8 / 255)
    with pytest.raises(UsageError, match="selection measures the float weights"):
        fit(snn(), (PIXELS, LABELS), method="traditional", rounding="int4", selection=selection, **QUIET)


def test_a_checkpoint_is_of_one_schedule_and_the_optimizer_of_the_caller_is_left_alone(tmp_path):
    network, path = snn(), tmp_path / "state.pt"
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    options: dict[str, Any] = {"optimizer": optimizer, "checkpoint": path, "average": 0.9, "progress": False}
    fit(network, (PIXELS, LABELS), method="traditional", schedule=Schedule(1, 1e-4), **options)
    assert not optimizer._optimizer_step_post_hooks
    with pytest.raises(RunError, match="of a training with schedule"):
        fit(network, (PIXELS, LABELS), method="traditional", schedule=Schedule(3, 1.0), **options)
