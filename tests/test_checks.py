"""One check of images and labels, of logits and of class numbers; what a user's code raises becomes one sentence."""

import pytest
import torch

from hiresnn.checks import fingerprint, require_batch, require_classes, require_logits
from hiresnn.errors import AttackError, DataError, UsageError, user_code

IMAGES = torch.linspace(0, 1, 12).reshape(3, 1, 2, 2)
LABELS = torch.tensor([0, 2, 1])


def test_valid_batches_pass():
    require_batch(IMAGES)
    require_batch(IMAGES.half(), LABELS.int())
    require_batch(IMAGES[:0], LABELS[:0])
    require_batch((255 * IMAGES).byte(), LABELS, pixels="uint8")
    for pixels in (IMAGES, IMAGES.byte()):
        require_batch(pixels, LABELS, pixels="either", empty=False)


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        ([0.5], None, {}, r"images are list; give a tensor \[N, C, H, W\]"),
        (IMAGES[0], None, {}, r"images are torch.float32 \[1, 2, 2\]"),
        (IMAGES[:0], LABELS[:0], {"empty": False}, "there are no images"),
        (IMAGES.byte(), None, {}, "are torch.uint8, not floats in .* divide by 255"),
        (IMAGES.long(), None, {"pixels": "either"}, "are torch.int64, not floats"),
        (IMAGES, None, {"pixels": "uint8"}, "are torch.float32; give uint8"),
        (255 * IMAGES, None, {}, r"have pixels in \[0, 255\], not in \[0, 1\]: divide by 255"),
        (IMAGES - 0.5, None, {}, r"have pixels in \[-0.5, 0.5\].* normalisation"),
        (IMAGES * float("nan"), None, {}, "not finite"),
        (IMAGES / 0, None, {}, "not finite"),
        (IMAGES, LABELS[:2], {}, r"labels are torch.int64 \[2\] for 3 images"),
        (IMAGES, LABELS[:, None], {}, r"one whole number per image"),
        (IMAGES, LABELS.float(), {}, "labels are torch.float32"),
        (IMAGES, [0, 1, 2], {}, "labels are list"),
        (IMAGES, LABELS - 1, {"name": "batch 3 of train", "error": DataError}, "batch 3 of train: a label is -1"),
    ],
)
def test_each_mistake_is_named(images, labels, options, message):
    with pytest.raises(options.get("error", UsageError), match=message):
        require_batch(images, labels, **options)


@pytest.mark.parametrize("logits", [torch.zeros(2, 3), torch.zeros(3), torch.zeros(5, 3, 10), (torch.zeros(3, 2),)])
def test_logits_are_one_row_per_image(logits):
    require_logits(torch.zeros(3, 10), 3)
    with pytest.raises(UsageError, match=r"must return logits \[3, classes\]"):
        require_logits(logits, 3)


def test_class_numbers_lie_below_the_number_of_classes():
    require_classes(LABELS, 3)
    require_classes(LABELS[:0], 0)
    with pytest.raises(DataError, match="train: labels reach from 0 to 2, but there are 2 classes"):
        require_classes(LABELS, 2, "train", DataError)


def test_a_fingerprint_depends_on_names_types_shapes_and_values():
    tensors = {"a": IMAGES, "b": LABELS}
    others = [
        {"a": IMAGES, "c": LABELS},
        {"a": IMAGES.double(), "b": LABELS},
        {"a": IMAGES.flatten(), "b": LABELS},
        {"a": IMAGES, "b": LABELS + 1},
    ]
    assert fingerprint(tensors.items()) == fingerprint({"a": IMAGES.clone(), "b": LABELS}.items())
    assert len({fingerprint(each.items()) for each in (tensors, *others)}) == 5
    assert fingerprint([]) is None


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError("one\ntwo"), r"^the network failed: ValueError: one \(--debug shows where\)$"),
        (SystemExit(3), "^the network ended the program: SystemExit: 3"),
    ],
)
def test_a_failure_of_user_code_becomes_one_sentence(raised, message):
    with pytest.raises(AttackError, match=message), user_code("the network", error=AttackError):
        raise raised


@pytest.mark.parametrize("raised", [DataError("damaged"), KeyboardInterrupt()])
def test_errors_of_hiresnn_and_interrupts_pass_through_user_code(raised):
    with pytest.raises(type(raised)) as caught, user_code("the network"):
        raise raised
    assert caught.value is raised
