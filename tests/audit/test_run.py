"""`run_audit`: one card pinned by value, its cache, twins and views; the archive and its verification."""

import copy
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hiresnn.analysis import corruption_accuracy
from hiresnn.attacks import ATTACKS, register
from hiresnn.audit import AuditConfig, InstrumentedModel, Preset, audit, run_audit, verify
from hiresnn.audit.behaviour import weights_of
from hiresnn.audit.card import read_card
from hiresnn.audit.run import ALL, FLOAT, UNROUNDED, ArrayCache, audit_views, read_archive
from hiresnn.errors import RunError, UsageError
from hiresnn.exchange import deployed
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Linear
from hiresnn.progress import Progress

from .small import TINY, small_config, square, stage

FAST: Any = Preset("quick", 60, (stage(square(2)),))


@pytest.fixture(scope="module")
def folder(network, shown, tmp_path_factory):
    """The folder of an audit with a preset that takes a second, with its cache. Read only."""
    folder = tmp_path_factory.mktemp("library") / "audit"
    tiny: Any = Preset("quick", 60, (TINY,))
    bounds = ("8/255", "inf")
    run_audit(network, *shown, preset=tiny, eps="24/255", bounds=bounds, batch_size=30, folder=folder, cache=folder)
    return folder


@pytest.fixture
def card(folder):
    return read_card(folder / "card.json")


@pytest.fixture
def arrays(folder):
    return {name: values.copy() for name, values in read_archive(folder / "adversarial.npz").items()}


def test_the_card_of_a_small_seeded_network_has_these_values(card):
    # FGSM, PGD, worst case. Another CPU rounds differently, which can move an image across a boundary.
    counts = {point.bound: (point.fgsm.count, point.pgd.count, point.worst.count) for point in card.curve}
    golden = {"0": (50, 50, 50), "8/255": (43, 43, 40), "24/255": (32, 29, 20), "inf": (0, 0, 0)}
    for bound, expected in golden.items():
        assert counts[bound] == pytest.approx(expected, abs=2), bound
    assert (card.conclusion.verdict, card.conclusion.own) == ("overestimated", "inconclusive")
    assert {check.result for check in card.checks} == {"passed"}
    assert card.subject.timesteps == 3
    assert card.setting.command.endswith(
        "eps='24/255', seed=0, bounds=['8/255', 'inf'], batch_size=30, preset='quick')"
    )
    assert "preset='standard'" in card.conclusion.next_step


def test_the_stored_images_are_confirmed_and_lie_within_their_bounds(card, arrays, network, shown):
    found = verify(card, arrays, network)
    assert found.problems == ()
    assert found.images == card.clean.count - card.at("inf").worst.count > 30
    images, labels = (part[torch.from_numpy(arrays["index"])] for part in shown)
    assert (arrays["clean"] == images.numpy()).all()
    adversarial = torch.from_numpy(arrays["adversarial"])
    assert (network(adversarial).argmax(1) != labels).all()
    assert ((adversarial - images).abs().flatten(1).amax(1).numpy() <= arrays["eps"] + 1e-6).all()


def test_attacks_see_the_rate_form_of_an_exact_network_and_its_spikes_are_counted(exact, shown, tmp_path, monkeypatch):
    steps = []
    forward = SpikingNetwork.forward
    monkeypatch.setattr(SpikingNetwork, "forward", lambda *args: steps.append(len(args[1])) or forward(*args))
    card = run_audit(exact, *shown, preset=Preset("quick", 60, (TINY,)), eps="24/255", bounds="8/255", folder=tmp_path)
    assert sum(steps) < card.budget.forward / 4
    assert card.setting.twins == [UNROUNDED]
    arrays = read_archive(tmp_path / "adversarial.npz")
    assert verify(card, arrays, exact, shown).problems == ()
    assert (exact(torch.from_numpy(arrays["adversarial"])).argmax(1).numpy() != arrays["label"]).all()


def test_an_audit_of_the_rate_form_breaks_the_images_that_an_audit_of_the_spikes_breaks(exact, shown, run, monkeypatch):
    by_rate = run(exact, *shown, stages=(TINY,))
    monkeypatch.setattr(InstrumentedModel, "rate_form", property(lambda model: model.model))
    by_spikes = run(exact, *shown, stages=(TINY,))
    for bound in by_rate.bounds:
        assert abs(by_rate.worst.count(bound) - by_spikes.worst.count(bound)) <= 1


def further(arrays):
    arrays["adversarial"] = 1 - arrays["clean"]


def harmless(arrays):
    arrays["adversarial"] = arrays["clean"].copy()


def fewer(arrays):
    for name in arrays:
        arrays[name] = arrays[name][1:]


def twice(arrays):
    arrays["index"][1] = arrays["index"][0]


def not_finite(arrays):
    arrays["adversarial"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (further, "further from the clean image than eps"),
        (harmless, "classified correctly although the card counts them as broken"),
        (fewer, "the images leave"),
        (twice, "not distinct positions"),
        (not_finite, "not finite"),
    ],
)
def test_images_that_do_not_prove_the_card_are_reported(card, arrays, network, change, problem):
    change(arrays)
    assert any(problem in text for text in verify(card, arrays, network).problems)


def test_another_network_is_not_confirmed(card, arrays, network):
    other = copy.deepcopy(network)
    next(iter(other.parameters())).data.add_(1e-6)
    problem = "the network's weights are not those that the card names"
    assert problem in verify(card, arrays, other).problems
    assert problem in verify(card, {name: rows[:0] for name, rows in arrays.items()}, nn.Flatten()).problems


def test_some_images_of_a_random_network_may_answer_otherwise(network, shown, tmp_path):
    def noisy(images):
        return network(images) + 0.05 * torch.randn(len(images), 10)

    card = run_audit(noisy, *shown, preset=FAST, bounds="inf", folder=tmp_path)
    arrays = read_archive(tmp_path / "adversarial.npz")
    few = len(arrays["index"]) // 5
    arrays["adversarial"][:few] = arrays["clean"][:few]
    assert verify(card, arrays, noisy, shown).problems == ()
    subject = card.subject.model_copy(update={"fingerprint": weights_of(network)})
    problems = verify(card.model_copy(update={"subject": subject}), arrays, network, shown).problems
    assert any("are classified correctly" in problem for problem in problems)
    assert "the card says random = True of its network, which has False" in problems


def test_a_missing_or_damaged_archive_is_refused(folder, tmp_path):
    path = tmp_path / "adversarial.npz"
    with pytest.raises(RunError, match="does not exist"):
        read_archive(path)
    for content in (b"", b"PK\x03\x04", b"not an archive"):
        path.write_bytes(content)
        with pytest.raises(RunError, match="damaged"):
            read_archive(path)
    np.savez(path, index=np.arange(3))
    with pytest.raises(RunError, match="does not hold the arrays"):
        read_archive(path)
    whole, unnoticed = (folder / "adversarial.npz").read_bytes(), []
    for place in range(0, len(whole) - 20, max(1, len(whole) // 40)):
        flipped = bytes(byte ^ 0xFF for byte in whole[place : place + 20])
        path.write_bytes(whole[:place] + flipped + whole[place + 20 :])
        with suppress(RunError):  # and no other error; the directory of a ZIP archive has bytes that nothing reads
            read_archive(path)
            unnoticed.append(place)
    assert len(unnoticed) < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(3, 8, 8)}, "images are"),
        ({"labels": torch.tensor([0, 10, 3])}, "labels reach from 0 to 10, but there are 10 classes"),
        ({"images": torch.full((3, 1, 8, 8), 255.0)}, r"\[0, 1\]"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"preset": "fast"}, "preset is 'fast'"),
        ({"attacks": ("pgd:eps=0.1",)}, "names eps"),
        ({"classes": ["a", "b"]}, "network has 10 output classes, but images has 2"),
        ({"twins": {"other": nn.Flatten()}, "classes": list("abcdefghij")}, "the twin other has 64 output classes"),
        ({"config": AuditConfig(views=("int99",))}, "int99"),
        ({"config": AuditConfig(eps="4/255"), "eps": "2/255", "seed": 0}, "config is given, and eps, seed beside it"),
        ({"model": nn.Flatten(), "config": AuditConfig(views=("int8",))}, "Flatten"),
    ],
)
def test_images_and_options_that_cannot_be_used_are_refused(network, changes, message):
    values = {
        "model": network,
        "images": torch.rand(3, 1, 8, 8),
        "labels": torch.zeros(3, dtype=torch.int64),
        **changes,
    }
    with pytest.raises(UsageError, match=message):
        run_audit(**values)


@pytest.mark.parametrize("mode", [True, False, "auto"])
def test_the_network_is_compiled_for_the_audit_alone_and_never_gets_the_callers_images(
    network, shown, mode, no_compiler
):
    subject, (images, labels), compiled = copy.deepcopy(network).fuse(mode), (part[:6] for part in shown), []

    def write(module, inputs):
        compiled.append(subject.fused)
        inputs[0].data.mul_(0.999)

    before = (subject.fused, subject.compiles_when_it_pays)
    images = images.clone()
    subject.register_forward_pre_hook(write)
    run_audit(subject, images, labels, AuditConfig(FAST, bounds=(), compile=True))
    assert compiled[-1]
    assert (subject.fused, subject.compiles_when_it_pays) == before
    assert torch.equal(images, shown[0][:6])


def test_a_cache_is_for_one_network_its_images_and_its_settings(network, shown):
    images, labels = (part[:6] for part in shown)
    cache: dict[str, Any] = {}
    card = run_audit(network, images, labels, preset=FAST, bounds="8/255", cache=cache)
    assert [point.bound for point in card.curve] == ["0", "8/255"]
    assert run_audit(network, images, labels, preset=FAST, bounds="8/255", cache=cache).curve == card.curve
    other = copy.deepcopy(network)
    next(iter(other.parameters())).data.neg_()
    narrower = copy.deepcopy(network)  # the same answers, and other gradients
    for lif in narrower.neurons.values():
        lif.surrogate = Linear(width=0.01)
    assert torch.equal(narrower(images), network(images))
    changes = ((other, images, 0), (narrower, images, 0), (network, images.flip(0), 0), (network, images, 1))
    for model, pictures, seed in changes:
        with pytest.raises(UsageError, match="cache holds the work of another network, other images"):
            run_audit(model, pictures, labels, preset=FAST, bounds="8/255", seed=seed, cache=cache)


@pytest.fixture
def written(monkeypatch):
    """The keys of the units that are worked on from here on."""
    keys: list[str] = []
    write = ArrayCache.__setitem__

    def noted(cache, key, record):
        keys.append(key)
        write(cache, key, record)
        if keys[0] == "interrupt" and len(keys) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(ArrayCache, "__setitem__", noted)
    return keys


def test_an_interrupted_audit_continues_in_its_folder_and_another_one_does_not(network, shown, tmp_path, written):
    images, labels = (part[:12] for part in shown)

    def card(**changes):
        options = {"preset": FAST, "bounds": ("8/255",), "cache": tmp_path, **changes}
        return run_audit(network, images, labels, **options)

    written.append("interrupt")
    with pytest.raises(KeyboardInterrupt):
        card()
    first = set(written)
    written.clear()
    continued = card()
    assert written
    assert not first & set(written)
    written.clear()
    assert card().curve == continued.curve == card(cache=None).curve
    assert written == []
    for changes in ({"seed": 1}, {"eps": "4/255"}, {"batch_size": 5}):
        card(**changes)
        assert any(key.startswith("clean") for key in written), changes
        written.clear()
    assert len(list(tmp_path.glob("cache-*"))) == 4
    for source in ("a", "b"):  # the digests of two versions of the file of a user's attack
        register("mine", lambda model, images, labels, eps=0.1: images, source=source)
        card(attacks=("mine",))
    del ATTACKS["mine"]
    assert len(list(tmp_path.glob("cache-*"))) == 6


def test_cached_work_with_a_twin_that_answers_otherwise_is_refused(network, shown):
    images, labels = (part[:6] for part in shown)
    cache: dict[str, Any] = {}
    for sign in (1, 1, -1):

        def twin(images, sign=sign):
            return sign * images.flatten(1)[:, :10]

        def run():
            run_audit(network, images, labels, preset=FAST, bounds=(), cache=cache, twins={"other": twin})

        if sign > 0:
            run()
        else:
            with pytest.raises(UsageError, match="holds work with a twin other that gave other answers"):
                run()


def test_an_audit_inside_inference_mode_finds_the_same(network, shown):
    images, labels = (part[:12] for part in shown)
    card = run_audit(network, images, labels, preset=FAST, bounds=("8/255",))
    with torch.inference_mode():
        inside = run_audit(network, images + 0, labels + 0, preset=FAST, bounds=("8/255",))
    assert inside.curve == card.curve


def test_the_call_on_the_card_repeats_the_audit(network, shown):
    images, labels = (part[:6] for part in shown)
    options: dict[str, Any] = {"bounds": ("1/255",), "attacks": ["pgd:iterations=3"], "eps": "2/255", "seed": 4}
    card = run_audit(network, images, labels, preset=FAST, twins={"other": network}, batch_size=3, **options)
    assert card.setting.command == (
        "hiresnn.run_audit(model, images, labels, eps='2/255', seed=4, bounds=['1/255'], attacks=['pgd:iterations=3'], "
        "twins={'other': ...}, batch_size=3, preset='quick')"
    )
    assert [row.label for row in card.attacks][-2:] == ["transfer from other", "pgd:iterations=3 (added)"]
    assert card.setting.twins == ["other"]


def test_every_view_is_attacked_and_what_breaks_one_network_counts_on_another(network, shown, tmp_path):
    images = shown[0][:12]
    labels = network(images).argmax(1)
    config = AuditConfig(FAST, "16/255", ("8/255",), batch_size=5, views=("int2", "reset=zero"))
    card = run_audit(network, images, labels, config, folder=tmp_path, cache=tmp_path)
    found = json.loads((tmp_path / "deployed.json").read_bytes())
    assert (found["bounds"], found["images"]) == (["0", "8/255", "16/255"], 12)
    assert list(found["views"]) == [FLOAT, "int2", "reset=zero"]
    for view in found["views"].values():
        for worst, own, everywhere in zip(view["worst"], view["own"], found[ALL], strict=True):
            assert everywhere <= worst <= own
        assert view["worst"] == sorted(view["worst"], reverse=True)
    assert found["views"][FLOAT]["own"] == [point.worst.percent for point in card.curve]
    assert found["views"][FLOAT]["own"][0] == 100  # its own answers are the labels
    assert found["views"]["int2"]["own"][0] < 100
    assert len(list(tmp_path.glob("cache-*"))) == 3


def test_an_image_made_on_one_network_counts_on_another(network, shown):
    images = shown[0][:12]
    labels = network(images).argmax(1)
    result = audit(InstrumentedModel(network, images), images, labels, small_config(stage(square(2)), bounds=()))
    same = {"int16": deployed(network, "int16").eval()}
    alone = audit_views(same, result, lambda model: {}, Progress(quiet=True))
    (position, adversarial), *_ = result.worst.adversarial.items()
    result.worst.level[:] = len(result.worst.bounds)  # as if nothing else had been found
    result.worst.level[position] = 1
    result.worst.adversarial = {position: adversarial}
    found = audit_views(same, result, lambda model: {}, Progress(quiet=True))
    assert found["views"]["int16"]["worst"] == alone["views"]["int16"]["worst"]
    # What the audit of the nearly equal int16 network finds breaks the float network again.
    assert found["views"][FLOAT]["worst"][1] < found["views"][FLOAT]["own"][1]


RECORD: dict[str, Any] = {
    "broken": np.array([3, 1, 2]),
    "images": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 1, 3, 4),
    "wrong": np.array([True, False]),
    "nothing": np.zeros((0, 3), np.float32),
    "forward": np.asarray(12),
    "seconds": np.asarray(1 / 3),
}


@pytest.fixture
def cache(tmp_path):
    return ArrayCache(tmp_path / "pieces")


def same(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert (found[name] == values).all()


def test_a_record_reads_back_also_from_another_cache_on_the_folder(cache):
    assert cache.get("a") is None
    assert not cache.folder.exists()  # until the first write
    keys = {"screen 0 8/255 40 arctan/alpha=4", "../up", "", "umlaut ä", "a" * 5000}
    for key in keys:
        cache[key] = {**RECORD, "length": np.asarray(len(key))}
    for reader in (cache, ArrayCache(cache.folder)):
        for key in keys:
            same(reader.get(key), {**RECORD, "length": np.asarray(len(key))})
    assert list(cache.folder.parent.iterdir()) == [cache.folder]
    assert len(list(cache.folder.iterdir())) == 5  # one file each, and no temporary file
    cache[""] = {"forward": np.asarray(1)}
    same(cache.get(""), {"forward": np.asarray(1)})


def only_file(cache):
    (path,) = cache.folder.iterdir()
    return path


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x93NUMPY\x01\x00"])
def test_a_file_that_holds_something_else_counts_as_absent(cache, content):
    cache["a"] = RECORD
    only_file(cache).write_bytes(content)
    assert cache.get("a") is None
    cache["a"] = RECORD
    same(cache.get("a"), RECORD)


def test_a_truncated_file_and_one_with_a_changed_byte_count_as_absent(cache):
    cache["a"] = {"forward": np.asarray(12)}
    path = only_file(cache)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place])
        assert cache.get("a") is None, place
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert cache.get("a") is None, place


def test_a_record_under_the_file_name_of_another_counts_as_absent(cache):
    cache["a"] = RECORD
    content = only_file(cache).read_bytes()
    cache["b"] = {"forward": np.asarray(1)}
    for path in cache.folder.iterdir():
        path.write_bytes(content)
    same(cache.get("a"), RECORD)
    assert cache.get("b") is None


def test_a_card_has_the_accuracy_on_corrupted_images_only_where_asked_and_it_is_verified(
    network, shown, tmp_path, card
):
    assert card.corruptions is None
    assert "corruptions" not in card.model_dump()
    options: dict[str, Any] = {"preset": FAST, "eps": "24/255", "bounds": ("8/255",), "seed": 3}
    run_audit(network, *shown, **options, corruptions=True, folder=tmp_path)
    plain, full = run_audit(network, *shown, **options), read_card(tmp_path / "card.json")
    assert full.conclusion.verdict == plain.conclusion.verdict
    assert "corruptions=True" in full.setting.command
    part = full.corruptions
    assert part is not None
    assert part.accuracy == corruption_accuracy(network, *shown, seed=3)
    assert part.mean == pytest.approx(np.mean([*part.accuracy.values()]), abs=0.01)
    arrays = read_archive(tmp_path / "adversarial.npz")
    assert verify(full, arrays, network, shown).problems == ()
    assert "the accuracy on corrupted images" in verify(full, arrays, network).unchecked
    fewer = {name: severities for name, severities in part.accuracy.items() if name != "glass-blur"}
    for change in ({"mean": part.mean + 1}, {"accuracy": fewer}, {"seed": 4}):
        forged = full.model_copy(update={"corruptions": part.model_copy(update=change)})
        assert any("corrupted images" in text for text in verify(forged, arrays, network, shown).problems)


def test_a_misspelled_option_is_named_with_the_right_one(network, shown):
    with pytest.raises(UsageError, match=r'no option epss; did you mean "eps"\?'):
        run_audit(network, *shown, epss="8/255")
