"""Batches of a split with augmentation, and images in any form as two tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import hiresnn
from hiresnn.data import Batches, Split, flip_and_crop, tensors
from hiresnn.errors import DataError, UsageError


def numbered(count, size=1):
    """Images filled with their own number, which is also their label."""
    numbers = torch.arange(count)
    return Split(numbers.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, size, size), numbers)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def textured(count=24):
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator(9)).to(torch.uint8)
    return Split(images, torch.arange(count))


def epoch(batches):
    return [(images.clone(), labels.clone()) for images, labels in batches]


def same(one, other):
    return all(
        torch.equal(left, right)
        for pair, pair2 in zip(one, other, strict=True)
        for left, right in zip(pair, pair2, strict=True)
    )


def test_images_are_float32_in_zero_to_one():
    split = Split(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.tensor([0, 1, 1]))
    ((images, labels),) = Batches(split, 8)
    assert images.dtype == torch.float32
    assert torch.equal(images.flatten(), torch.tensor([0.0, 0.2, 1.0]))
    assert labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2]), (3, 1, [1, 1, 1])]
)
def test_the_last_batch_may_be_shorter(count, batch_size, sizes):
    batches = Batches(numbered(count), batch_size)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


def test_augmentation_changes_images_and_not_labels():
    split = textured()
    plain = epoch(Batches(split, 10))
    augmented = epoch(Batches(split, 10, augment=True, generator=generator()))
    assert all(torch.equal(one[1], other[1]) for one, other in zip(plain, augmented, strict=True))
    assert not any(torch.equal(one[0], other[0]) for one, other in zip(plain, augmented, strict=True))
    assert torch.equal(split.images, textured().images)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"augment": True}, {"shuffle": True, "augment": True}])
def test_an_epoch_is_repeated_from_the_generator_state_before_it(options):
    source = generator()
    batches = Batches(textured(), 10, generator=source, **options)
    epoch(batches)
    state = source.get_state()
    second, third = epoch(batches), epoch(batches)
    assert not same(second, third)

    restored = generator(12345)
    restored.set_state(state)
    fresh = Batches(textured(), 10, generator=restored, **options)
    assert same(epoch(fresh), second)
    assert same(epoch(fresh), third)


def test_random_numbers_drawn_between_batches_do_not_change_the_epoch():
    source = generator()
    batches = Batches(textured(), 10, shuffle=True, augment=True, generator=source)
    quiet = epoch(batches)
    source.manual_seed(0)
    disturbed = []
    for batch in batches:
        disturbed.append(batch)
        torch.rand(3, generator=source)
    assert same(quiet, disturbed)


def test_a_batch_size_below_one_and_randomness_without_a_generator_are_refused():
    with pytest.raises(UsageError, match="batch_size is 0; give"):
        Batches(numbered(3), 0)
    for options in ({"shuffle": True}, {"augment": True}):
        with pytest.raises(UsageError, match=r"generator is missing; give a torch\.Generator"):
            Batches(numbered(3), 2, **options)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(count=st.integers(1, 12), batch_size=st.integers(1, 5), parts=st.integers(1, 6), seed=st.none() | st.just(3))
def test_the_parts_of_every_batch_together_are_the_batch(count, batch_size, parts, seed):
    def batches(part):
        source = None if seed is None else generator(seed)
        return Batches(numbered(count), batch_size, shuffle=seed is not None, generator=source, part=part)

    whole, divided = epoch(batches((0, 1))), [batches((which, parts)) for which in range(parts)]
    assert {len(each) for each in divided} == {len(whole)}  # len is the number of batches for every part
    shares = [epoch(each) for each in divided]
    assert {len(share) for share in shares} == {len(whole)}
    for index, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([share[index][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[index][1] for share in shares]), labels)
    sizes = [len(share[0][1]) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def one_by_one(images, padding, draws):
    """The same draws, applied with torch's own padding to one image at a time."""
    batch, _, height, width = images.shape
    vertical, horizontal = min(padding, height - 1), min(padding, width - 1)
    flips = torch.randint(0, 2, (batch, 1), generator=draws)
    tops = torch.randint(-vertical, vertical + 1, (batch, 1), generator=draws) + vertical
    lefts = torch.randint(-horizontal, horizontal + 1, (batch, 1), generator=draws) + horizontal
    results = []
    for image, flip, top, left in zip(images.double(), flips, tops, lefts, strict=True):
        padded = torch.nn.functional.pad(image[None], (horizontal, horizontal, vertical, vertical), mode="reflect")[0]
        crop = padded[:, int(top) : int(top) + height, int(left) : int(left) + width]
        results.append(crop.flip(-1) if flip else crop)
    return torch.stack(results).to(images.dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ("shape", "padding"),
    [((40, 3, 32, 32), 4), ((40, 1, 8, 8), 4), ((1, 3, 5, 7), 2), ((40, 2, 3, 3), 4), ((9, 1, 1, 1), 4)],
)
def test_a_batch_equals_the_images_augmented_one_by_one(shape, padding, dtype):
    images = (torch.rand(shape, generator=generator(7)) * 255).to(dtype)
    augmented = flip_and_crop(images, padding=padding, generator=generator())
    assert augmented.dtype == dtype
    assert torch.equal(augmented, one_by_one(images, padding, generator()))


def test_all_offsets_of_both_axes_are_equally_likely_and_independent():
    images = torch.arange(81, dtype=torch.float32).view(1, 1, 9, 9).expand(8100, 1, 9, 9)
    centre = flip_and_crop(images, padding=4, generator=generator())[:, 0, 4, 4]
    counts = centre.long().bincount(minlength=81)
    # each of the 81 pixels is expected at the centre 100 times, standard deviation 10
    assert counts.min() > 55
    assert counts.max() < 145


PIXELS = torch.arange(0, 240, 20, dtype=torch.uint8).view(3, 1, 2, 2)
LABELS = torch.tensor([0, 1, 1])
FLOATS = PIXELS / 255


@pytest.mark.parametrize(
    "given",
    [
        (PIXELS, LABELS),
        (PIXELS.numpy(), LABELS.numpy().astype(np.int32)),
        Split(PIXELS, LABELS),
        TensorDataset(FLOATS, LABELS),
        DataLoader(TensorDataset(PIXELS, LABELS[:, None]), batch_size=2),
        [PIXELS, LABELS],
        [(PIXELS[:2].numpy(), LABELS[:2].numpy()), (PIXELS[2:].numpy(), LABELS[2:].numpy())],
    ],
    ids=["tensors", "arrays", "split", "dataset", "loader", "a list of two", "batches of arrays"],
)
def test_images_in_every_form_are_the_same_two_tensors(given):
    images, labels = tensors(given)
    assert torch.equal(images, FLOATS)
    assert torch.equal(labels, LABELS)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_images_without_labels_or_out_of_range_are_refused():
    with pytest.raises(UsageError, match="images has no labels"):
        tensors(FLOATS)
    with pytest.raises(UsageError, match="images is a tuple of 3; give"):
        tensors((FLOATS, LABELS, LABELS))
    with pytest.raises(DataError, match=r"batch 1 of images: images have pixels in .* divide by 255"):
        tensors(TensorDataset(PIXELS.float(), LABELS))


class Net(torch.nn.Module):
    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([0.3 - mean, mean - 0.3], dim=1)


def test_evaluate_and_audit_take_a_loader():
    loader = DataLoader(TensorDataset(FLOATS, LABELS), batch_size=2)
    assert hiresnn.evaluate(Net(), loader) == hiresnn.evaluate(Net(), FLOATS, LABELS) == 100.0
    card = hiresnn.run_audit(Net(), loader, eps="8/255")
    assert card.data.images == 3


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(FLOATS[0], 0)])


@pytest.mark.parametrize(
    "given", [Stream(), DataLoader(Stream()), iter([(FLOATS, LABELS)])], ids=["stream", "loader", "iterator"]
)
def test_what_has_no_length_is_refused_in_a_sentence(given):
    with pytest.raises(UsageError, match="images has no length; give a list of batches"):
        tensors(given)


def test_evaluate_and_audit_take_numpy_arrays_and_labels_of_any_integer_type():
    assert hiresnn.evaluate(Net(), FLOATS.numpy(), LABELS.numpy()) == 100.0
    cards = [hiresnn.run_audit(Net(), FLOATS, LABELS.to(kind)) for kind in (torch.int64, torch.int32, torch.uint8)]
    assert len({card.model_dump_json(include={"curve", "conclusion"}) for card in cards}) == 1
