"""`hiresnn certify`: certificates of a target's network on its images, beside its audit if it has one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import evaluate
from hiresnn.app.build import device_of, fitting_batch
from hiresnn.app.evaluate import check_fits
from hiresnn.app.targets import audit_folder, data_of, resolve_model
from hiresnn.attacks import Model
from hiresnn.audit.card import read_card
from hiresnn.audit.run import CARD
from hiresnn.calls import parse_bound, read_call, typed
from hiresnn.certify import (
    ABSTAINS,
    Gaussian,
    RateCoding,
    Smoothing,
    attack_smoothed,
    certify_intervals,
    certify_smoothed,
    require_intervals,
)
from hiresnn.checks import as_floats
from hiresnn.errors import UsageError, closest
from hiresnn.files import json_text, write_atomically
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

RESULT = "certify.json"
IMAGES = 100
SETTINGS: dict[str, Any] = {"n0": 100, "n": 1000, "alpha": 0.001}
BOUNDS = ("0", "1/255", "2/255", "4/255", "8/255", "16/255", "32/255")


def certify(
    target: str,
    *,
    smoothings: Sequence[str] = (),
    attack: bool = True,
    source: str | None = None,
    images: int | None = None,
    seed: int = 0,
    batch_size: int = 500,
    out: Path | None = None,
    progress: Progress,
) -> tuple[dict[str, Any], Path]:
    """Certify the network that `target` names; return the content of certify.json, and its folder, that of the audit.

    `smoothings` are texts such as "sigma=0.25, n=1000" or "rate" (by default one of them); `attack` also looks for the
    nearest image that breaks each smoothed classifier. `images` are by default those of the audit, or else 100.
    """
    subject = resolve_model(target, source=source)
    dataset, folder = data_of(target, subject, source), out or audit_folder(target, subject)
    if dataset.events:
        raise UsageError(f"{dataset.name} holds event grids; certify them in Python, with hiresnn.certify.Sparse.")
    card = read_card(folder / CARD) if (folder / CARD).is_file() else None
    audited = card if card and card.data.name == dataset.name and card.setting.norm == "linf" else None
    split = data.in_turn(dataset.test, min(images or (audited.data.images if audited else IMAGES), len(dataset.test)))
    device, model = device_of(subject.recipe), subject.model
    if isinstance(model, nn.Module):
        check_fits(model.to(device).eval(), dataset, target)
        batch_size = fitting_batch(model, dataset, batch_size)
    poisson = isinstance(model, SpikingNetwork) and model.encoding.encoding == "poisson"
    chosen = [_read(text, model) for text in smoothings or ["rate" if poisson else "gaussian(sigma=0.25)"]]
    test, labels = as_floats(split.images).to(device), split.labels.to(device)
    result: dict[str, Any] = {"target": target, "data": dataset.name, "images": len(split), "seed": seed}
    result |= {"clean": round(evaluate(model, test, labels), 2), "smoothed": []}
    for name, smoothing, settings in chosen:
        with progress.task(f"certify {name}", len(split)) as task:
            options: dict[str, Any] = {**settings, "seed": seed, "batch_size": batch_size, "advance": task.advance}
            made = certify_smoothed(model, test, smoothing, **options)
        radius = torch.where(made.prediction == split.labels, made.radius, 0)
        radii = [float(radius.max()) * step / 8 for step in range(9)]
        entry: dict[str, Any] = {"smoothing": name, "norm": smoothing.norm, **settings}
        entry |= {"abstains": _percent(made.prediction == ABSTAINS), "certified radius": radius.tolist()}
        entry |= {"radii": radii, "attacked": None}
        entry["certified"] = [_percent(made.holds(split.labels, bound)) for bound in radii]
        if attack:
            with progress.task(f"attack {name}", len(split)) as task:
                nearest = attack_smoothed(model, test, labels, smoothing, seed=seed, advance=task.advance)
            entry["nearest"] = [None if distance.isinf() else float(distance) for distance in nearest]
            entry["contradictions"] = int((radius > nearest).sum())
            entry["attacked"] = [_percent(nearest > bound) for bound in radii]
        result["smoothed"].append(entry)
    bounds = [parse_bound(label) for label in (audited.setting.bounds if audited else BOUNDS)]
    bounds = [bound for bound in bounds if bound.eps <= 1]
    worst = {point.bound: point.worst.percent for point in audited.curve} if audited else {}
    linf: dict[str, Any] = {"bounds": [bound.label for bound in bounds], "certified": None, "reason": None}
    linf["worst"] = [worst.get(bound.label) for bound in bounds]
    try:
        network = require_intervals(model)
        with progress.task("interval bounds", len(split)) as task:
            radius = certify_intervals(network.cpu(), test.cpu(), split.labels, advance=task.advance)
    except UsageError as error:
        linf["reason"] = str(error)
    else:
        linf["certified"] = [_percent((radius > 0) & (radius >= bound.eps)) for bound in bounds]
        linf["certified radius"] = radius.tolist()
    result |= {"linf": linf, "audit": audited.data.images if audited else None}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RESULT, json_text(result).encode())
    return result, folder


def _percent(which: Tensor) -> float:
    return round(100 * float(which.double().mean()), 2)


def _read(text: str, model: Model) -> tuple[str, Smoothing, dict[str, Any]]:
    """Read "rate" or "sigma=0.25, n=1000" (of Gaussian noise); return a title, the noise and the settings."""
    call = read_call(f"gaussian({text})" if "=" in text and "(" not in text else text, "smoothing")
    if call.name not in ("gaussian", "rate"):
        raise UsageError(f"smoothing {call.name!r} is unknown; {closest(call.name, ('gaussian', 'rate'))}.")
    defaults = SETTINGS if call.name == "rate" else {"sigma": 0.25, **SETTINGS}
    call.require(list(defaults), "smoothing")
    settings = {key: typed(call.options.get(key, value), value, f"smoothing: {key}") for key, value in defaults.items()}
    if call.name == "rate":
        return "rate coding", RateCoding.of(model), settings
    sigma = settings.pop("sigma")
    return f"sigma = {sigma:g}", Gaussian(sigma), settings
