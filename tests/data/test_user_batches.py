"""Images of a Dataset, a DataLoader or two arrays, read as two tensors."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import hiresnn
from hiresnn.data import Split, tensors
from hiresnn.errors import DataError, UsageError

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
def test_images_in_every_form_are_the_same_two_tensors(given) -> None:
    images, labels = tensors(given)
    assert torch.equal(images, FLOATS)
    assert torch.equal(labels, LABELS)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_images_without_labels_or_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="images has no labels"):
        tensors(FLOATS)
    with pytest.raises(UsageError, match="images is a tuple of 3; give"):
        tensors((FLOATS, LABELS, LABELS))
    with pytest.raises(DataError, match=r"batch 1 of images: images have pixels in .* divide by 255"):
        tensors(TensorDataset(PIXELS.float(), LABELS))


class Net(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack([0.3 - mean, mean - 0.3], dim=1)


def test_evaluate_and_audit_take_a_loader() -> None:
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
def test_what_has_no_length_is_refused_in_a_sentence(given) -> None:
    with pytest.raises(UsageError, match="images has no length; give a list of batches"):
        tensors(given)


def test_evaluate_and_audit_take_numpy_arrays_and_labels_of_any_integer_type() -> None:
    assert hiresnn.evaluate(Net(), FLOATS.numpy(), LABELS.numpy()) == 100.0
    cards = [hiresnn.run_audit(Net(), FLOATS, LABELS.to(kind)) for kind in (torch.int64, torch.int32, torch.uint8)]
    assert len({card.model_dump_json(include={"curve", "conclusion"}) for card in cards}) == 1
