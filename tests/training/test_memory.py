"""Noise that is remembered per image, against a loop over images and pixels."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn.data import Batches, Split
from hiresnn.errors import UsageError
from hiresnn.training import MemoryNoise

BOUND, STEP = 8 / 255, 4 / 255
SPLIT = Split(
    torch.randint(0, 256, (6, 2, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)), torch.arange(6)
)


def batches(augment: bool) -> Batches:
    generator = torch.Generator().manual_seed(1)
    return Batches(SPLIT, 4, shuffle=True, augment=augment, generator=generator)


def started(augment: bool) -> tuple[MemoryNoise, Batches]:
    noise, source = MemoryNoise(STEP, BOUND), batches(augment)
    noise.attach(source)
    return noise, source


@pytest.mark.parametrize("augment", [False, True])
def test_every_image_keeps_its_noise_where_its_pixels_go(augment: bool) -> None:
    noise, source = started(augment)
    torch.manual_seed(0)
    memory: Tensor | None = None
    for _ in range(2):
        for images, labels in source:
            noise.begin(nn.Identity(), images, labels)
            memory = noise.memory.clone() if memory is None else memory
            assert torch.equal(noise.memory, memory)
            gradient = torch.randn(images.shape)
            shown = noise.apply(images)
            changes = torch.zeros(6, 2, 25)
            for row, label in enumerate(labels.tolist()):  # the label is the number of the image
                assert source.latest is not None
                _, moved = source.latest
                pixels = torch.arange(25) if moved is None else moved[row, 0]
                for channel in range(2):
                    for place, origin in enumerate(pixels.tolist()):
                        pixel = SPLIT.images[label, channel].flatten()[origin] / 255
                        delta = memory[label, channel].flatten()[origin] * BOUND / 127
                        assert images[row, channel].flatten()[place] == pytest.approx(pixel.item())
                        expected = min(max((pixel + delta).item(), 0), 1)
                        assert shown[row, channel].flatten()[place].item() == pytest.approx(expected, abs=1e-6)
                        changes[label, channel, origin] += gradient[row, channel].flatten()[place]
            noise.update(gradient)
            moved = memory.float() + changes.sign().view(memory.shape) * 127 * STEP / BOUND
            memory = moved.round().clamp(-127, 127).to(torch.int8)
    assert torch.equal(noise.memory, memory)


def test_noise_is_uniform_within_the_bound_and_drawn_anew_after_ten_epochs() -> None:
    noise, source = started(False)
    found = []
    for _ in range(11):
        for images, labels in source:
            noise.begin(nn.Identity(), images, labels)
        found.append(noise.memory.clone())
    assert torch.equal(found[0], found[9])
    assert (found[10] != found[9]).float().mean() > 0.9
    assert found[0].float().abs().max() * BOUND / 127 <= BOUND
    assert 40 < found[0].float().abs().mean() < 90  # 63.5 for a uniform draw


def test_the_state_comes_back() -> None:
    noise, source = started(True)
    for images, labels in source:
        noise.begin(nn.Identity(), images, labels)
        noise.update(torch.randn(images.shape))
    again = MemoryNoise(STEP, BOUND)
    again.load_state_dict(noise.state_dict())
    assert again.batches == noise.batches == 2
    assert torch.equal(again.memory, noise.memory)


def test_batches_that_do_not_know_their_images_are_refused() -> None:
    with pytest.raises(UsageError, match="which images a batch shows"):
        MemoryNoise(STEP, BOUND).attach([(torch.rand(1, 1, 2, 2), torch.zeros(1))])
    with pytest.raises(UsageError, match="bound is 0"):
        MemoryNoise(STEP, 0.0)
