"""`hiresnn audit --as`: every view is attacked, and what breaks one network counts wherever it breaks another."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.app.audit import ALL, DEPLOYED, FLOAT, AuditRequest, audit, audit_views, require_views
from hiresnn.audit import AuditConfig, InstrumentedModel, Preset
from hiresnn.audit import audit as run_sweep
from hiresnn.audit.presets import Stage
from hiresnn.cli.audit import deployed_table
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, convert
from hiresnn.progress import Progress

QUIET = Progress(quiet=True)
CHEAP = Preset("cheap", 12, (Stage(
    rules=("own",), sample=6, iterations=1, queries=1, most=1, directions=1, noise=1, attacks=(),
),))  # fmt: skip


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network(images: Tensor) -> SpikingNetwork:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    return convert(ann, images, timesteps=4).eval()


def test_the_worst_case_of_a_view_is_that_of_all_attacks_on_it_and_from_elsewhere(
    network: SpikingNetwork, images: Tensor
) -> None:
    labels = network(images).argmax(1)
    config = AuditConfig(CHEAP, "16/255", ("8/255",), batch_size=5)
    result = run_sweep(InstrumentedModel(network, images), images, labels, config)
    caches: list[dict[str, Any]] = []

    def cache(model: InstrumentedModel) -> dict[str, Any]:
        caches.append({})
        return caches[-1]

    views = require_views(("int2", "reset=zero"), network)
    found = audit_views(views, result, cache, QUIET)
    assert (found["bounds"], found["images"]) == (["0", "8/255", "16/255"], 12)
    assert list(found["views"]) == [FLOAT, "int2", "reset=zero"]
    for view in found["views"].values():
        for worst, own, everywhere in zip(view["worst"], view["own"], found[ALL], strict=True):
            assert everywhere <= worst <= own
        assert view["worst"] == sorted(view["worst"], reverse=True)
    assert found["views"][FLOAT]["own"][0] == 100  # its own answers are the labels
    assert found["views"]["int2"]["own"][0] < 100
    assert all(any("transfer from float" in key for key in cache) for cache in caches)
    text = deployed_table(found)
    assert text.row_count == 4


def test_an_image_made_on_one_network_counts_on_another(network: SpikingNetwork, images: Tensor) -> None:
    labels = network(images).argmax(1)
    config = AuditConfig(CHEAP, "64/255", ())
    result = run_sweep(InstrumentedModel(network, images), images, labels, config)
    (position, adversarial), *_ = result.worst.adversarial.items()
    same = {"int16": require_views(("int16",), network)["int16"]}
    alone = audit_views(same, result, lambda model: {}, QUIET)
    result.worst.level[:] = len(result.worst.bounds)  # as if nothing else had been found
    result.worst.level[position] = 1
    result.worst.adversarial = {position: adversarial}
    found = audit_views(same, result, lambda model: {}, QUIET)
    assert found["views"]["int16"]["worst"] == alone["views"]["int16"]["worst"]
    # What the audit of the nearly equal int16 network finds breaks the float network again.
    assert found["views"][FLOAT]["worst"][1] < found["views"][FLOAT]["own"][1]


def test_a_view_is_refused_before_any_attack_runs(network: SpikingNetwork, images: Tensor) -> None:
    with pytest.raises(UsageError, match="view 'int99'"):
        require_views(("int99",), network)
    with pytest.raises(UsageError, match="this is a Flatten"):
        require_views(("int8",), nn.Flatten())


def test_the_views_of_a_run_are_written_beside_its_card(trained: Path, tmp_path: Path) -> None:
    request = AuditRequest(
        str(trained / "run"), AuditConfig(CHEAP, "26/255", ()), images=12, eps="26/255", out=tmp_path / "out",
        views=("int8",),
    )  # fmt: skip
    card, out = audit(request, progress=QUIET)
    found = json.loads((out / DEPLOYED).read_bytes())
    assert found["views"][FLOAT]["own"] == [point.worst.percent for point in card.curve]
    assert len(list(out.glob("cache-*"))) == 2
