"""Campaign "fuzz": hostile values in every key of a recipe, and mutated archives, images, weights and JSON.

No input may lead to a traceback, a hang, an unbounded allocation or a silently accepted NaN.
"""

import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.torture.harness import Case, command, in_child
from tests.torture.workshop import TINY, copy, trained

HOSTILE_TEXTS = (
    *("nan", "inf", "-inf", "-1", "0", "1e308", "-1e308", "1e-320", "10000000000000000000", "9" * 5000, "0.5", "true"),
    *('""', '"x"', '"../../escape"', '"/tmp/absolute"', '"' + "A" * 100_000 + '"', "[]", "[1, 2]", "{a = 1}", '"8/0"'),
    *("[" * 1200 + "]" * 1200, '"8/255/1"', "1979-05-27", '"\\u0000"', "'''", "=", ""),
)
"""Values as they stand behind `--set key=`."""
HOSTILE_VALUES = (
    *(None, True, -1, 0, 2**70, 1e308, float("nan"), float("inf"), "", "x", "<script>alert(1)</script>", "9" * 5000),
    *([], {}, [[[]]], {"a": {}}),
)
"""Values in place of those in a JSON file."""
CHEAP = {"ann.epochs": "0", "snn.epochs": "0", "data.train_images": "60", "conversion.images": "20"}
"""So that a value that is accepted is also tried in a training, in a second."""


def cases(seed: int, folder: Path, kinds: int = 5) -> Iterator[Case]:
    """The first so many kinds in turn; the recipe's keys come to an end, the mutations do not."""
    draw = random.Random(seed)
    makers = (_recipes, _archives, _images, _weights, _json)[:kinds]
    sources = [maker(draw, folder) for maker in makers]
    while sources:
        for source in list(sources):
            try:
                yield next(source)
            except StopIteration:
                sources.remove(source)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The bytes with some of them flipped, removed, doubled or cut off."""
    content_ = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(max(1, len(content_)))
        match draw.randrange(5):
            case 0 if content_:
                content_[at] ^= 1 << draw.randrange(8)
            case 1:
                del content_[at : at + draw.choice((1, 4, 64))]
            case 2:
                content_[at:at] = content_[at : at + draw.choice((1, 4, 64))]
            case 3:
                content_[at : at + 4] = bytes(draw.randrange(256) for _ in range(4))
            case 4 if draw.random() < 0.3:
                del content_[at:]
    return bytes(content_)


def _recipes(draw: random.Random, folder: Path) -> Iterator[Case]:
    from hiresnn.app.recipe import flatten, read

    keys = [key for key in flatten(read("digits")) if key != "data.source"]
    pairs = [(key, text) for key in keys for text in HOSTILE_TEXTS]
    draw.shuffle(pairs)
    for key, text in pairs:
        yield Case("fuzz", f"recipe {key}={text[:24]}", _recipe(folder, key, text))


def _recipe(folder: Path, key: str, text: str) -> Callable[[], str | None]:
    def run() -> str | None:
        from hiresnn.app.recipe import override, read
        from hiresnn.errors import HiresnnError

        try:
            tiny = override(read("digits"), {**TINY, **CHEAP})
            recipe = override(tiny, {key: text})
        except HiresnnError as error:
            return f"a message of {len(str(error))} characters" if len(str(error)) > 1000 else None
        if key in ("ann.epochs", "snn.epochs") or recipe == tiny:
            return None
        place = Path(tempfile.mkdtemp(dir=folder))
        sets = [part for name, value in {**TINY, **CHEAP, key: text}.items() for part in ("--set", f"{name}={value}")]
        problem = command("train", "digits", *sets, "--quiet", folder=place, seconds=90).complaint(0, 1, 2)
        escaped = [path for path in place.parent.iterdir() if path.name == "escape"]
        shutil.rmtree(place)
        return problem or (f"wrote outside its folder: {escaped}" if escaped else None)

    return run


def _archives(draw: random.Random, folder: Path) -> Iterator[Case]:
    rng = np.random.default_rng(draw.randrange(2**32))
    path, contents = folder / "archive.npz", []
    for images in (rng.integers(0, 255, (24, 8, 8), dtype=np.uint8), rng.random((24, 8, 8), np.float32)):
        np.savez(path, x_train=images, y_train=np.arange(24) % 4, x_test=images[:8], y_test=np.arange(8) % 4)
        contents.append(path.read_bytes())
    for number in itertools.count(1):
        content = mutated(draw.choice(contents), draw)
        yield Case("fuzz", f"archive, mutation {number}", _reads(path, content, partial(_data, path)))


def _images(draw: random.Random, folder: Path) -> Iterator[Case]:
    from PIL import Image

    base = folder / "folder"
    for split, label, number in itertools.product(("train", "test"), ("a", "b"), range(3)):
        (base / split / label).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / split / label / f"{number}.png")
    path = base / "train" / "b" / "1.png"
    original = path.read_bytes()
    for number in itertools.count(1):
        content = mutated(original, draw)
        yield Case("fuzz", f"image folder, mutation {number}", _reads(path, content, partial(_data, base)))


def _weights(draw: random.Random, folder: Path) -> Iterator[Case]:
    original, path = (trained() / "runs" / "run" / "model.safetensors").read_bytes(), folder / "weights.safetensors"
    for number in itertools.count(1):
        content = mutated(original, draw)
        yield Case("fuzz", f"weights, mutation {number}", _reads(path, content, partial(_network, path)))


def _reads(path: Path, content: bytes, read: Callable[[], object]) -> Callable[[], str | None]:
    """A case in which `read` reads `content` from `path`; an error of hiresnn is as good as a success."""

    def action() -> None:
        from hiresnn.errors import HiresnnError

        path.write_bytes(content)
        with suppress(HiresnnError):
            read()

    return lambda: in_child(action, seconds=60).complaint(0)


def _data(path: Path) -> None:
    from hiresnn import data

    loaded = data.load(str(path))
    for split in (loaded.train, loaded.test):
        assert split.images.float().isfinite().all(), "accepted images that are not finite"
        assert int(split.labels.min()) >= 0, "accepted a negative class"


def _network(path: Path) -> None:
    from hiresnn.app.networks import load

    assert all(tensor.isfinite().all() for tensor in load(path).state_dict().values()), "accepted weights of NaN"


def _json(draw: random.Random, folder: Path) -> Iterator[Case]:
    """Files that are read back, with bytes mutated or values replaced; every command that reads them runs."""
    names = ("result.json", "metrics.jsonl", "environment.json", "ann.json", "audit/card.json")
    readers = (("report", "runs/run", "-o", "page.html"), ("evaluate", "runs/run", "--limit", "4", "--attack", "fgsm"))
    base = copy(folder / "documents")
    command("evaluate", "runs/run", "--limit", "8", folder=base)
    command("audit", "runs/run", "--images", "2", folder=base, seconds=600)
    for number in itertools.count(1):
        name = draw.choice(names)
        original = (base / "runs" / "run" / name).read_bytes()
        content = mutated(original, draw) if draw.random() < 0.4 else replaced(original, draw)
        reader = readers[0] if name in ("metrics.jsonl", "audit/card.json") else draw.choice(readers)
        yield Case("fuzz", f"{name}, mutation {number}, {reader[0]}", _runs(base, folder, name, content, reader))


def replaced(content: bytes, draw: random.Random) -> bytes:
    """A JSON (or JSON lines) text with one value somewhere in it replaced, or nested a thousand levels deep."""
    if draw.random() < 0.03:
        return b"[" * 1200 + b"]" * 1200
    lines = content.decode().splitlines() if content.count(b"\n{") else [content.decode()]
    at = draw.randrange(len(lines))
    value = json.loads(lines[at])
    holder: Any = [value]
    place: Any = 0
    while isinstance(holder[place], dict | list) and holder[place] and draw.random() < 0.85:
        holder = holder[place]
        place = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    if isinstance(holder, dict) and draw.random() < 0.2:
        del holder[place]
    else:
        holder[place] = draw.choice(HOSTILE_VALUES)
        value = holder[0] if holder is not value and place == 0 and not isinstance(value, dict | list) else value
    lines[at] = json.dumps(value)
    return "\n".join(lines).encode()


def _runs(base: Path, folder: Path, name: str, content: bytes, arguments: tuple[str, ...]) -> Callable[[], str | None]:
    """A case in which a command reads `content` from a file of a run."""

    def run() -> str | None:
        place = Path(tempfile.mkdtemp(dir=folder)) / "run"
        shutil.copytree(base, place)
        (place / "runs" / "run" / name).write_bytes(content)
        ended = command(*arguments, folder=place)
        problem = ended.complaint(0, 1, 2)
        page = place / "page.html"
        if problem is None and page.is_file() and "<script>alert(1)" in page.read_text(errors="replace"):
            problem = "the page contains markup from the file"
        shutil.rmtree(place.parent)
        return problem

    return run
