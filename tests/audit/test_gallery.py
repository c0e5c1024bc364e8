"""Pictures: what the bytes decode to, how differences are amplified, and which images are shown."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hiresnn.audit.build_card import amplified, choose_pictures, png


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_a_png_holds_the_image_in_eight_bits(channels: int, mode: str) -> None:
    levels = torch.randint(0, 256, (channels, 4, 6), generator=torch.Generator().manual_seed(0))
    found = decoded(png(levels / 255))
    assert (found.format, found.mode, found.size) == ("PNG", mode, (6, 4))  # PIL: width first
    expected = levels.permute(1, 2, 0).numpy() if channels == 3 else levels[0].numpy()
    assert (np.asarray(found) == expected).all()


def test_a_value_is_rounded_and_clipped() -> None:
    # 0.5 * 255 = 127.5 goes to the even 128; 0.1 * 255 = 25.5 in float32 too, 0.2 * 255 = 51
    found = decoded(png(torch.tensor([[[-1.0, 0.0, 0.2, 0.5, 1.0, 7.0]]])))
    assert np.asarray(found).tolist() == [[0, 0, 51, 128, 255, 255]]


def test_a_difference_fills_the_range_around_grey() -> None:
    clean = torch.tensor([[[0.2, 0.5, 0.9]]])
    shown, factor = amplified(clean, clean + torch.tensor([[[0.05, -0.1, 0.0]]]))
    assert factor == pytest.approx(5.0, rel=1e-5)  # 0.5 / 0.1
    assert torch.allclose(shown, torch.tensor([[[0.75, 0.0, 0.5]]]), atol=1e-5)


def test_no_difference_is_all_grey() -> None:
    image: Tensor = torch.rand(1, 3, 3)
    shown, factor = amplified(image, image)
    assert factor == 1
    assert torch.equal(shown, torch.full((1, 3, 3), 0.5))


def test_images_broken_up_to_the_headline_are_shown_from_small_bounds_to_large() -> None:
    # 0: misclassified; 4: beyond the headline; 5: nothing broke it
    assert choose_pictures([3, 0, 1, 4, 2, 1, 5], headline=3, count=10) == [2, 5, 4, 0]


def test_too_many_broken_images_are_thinned_evenly() -> None:
    assert choose_pictures([1, 1, 1, 2, 2, 2, 3], headline=3, count=3) == [0, 3, 6]
    assert choose_pictures([1] * 100, headline=1, count=12)[:2] == [0, 9]
    assert len(set(choose_pictures([1] * 13, headline=1, count=12))) == 12


def test_without_broken_images_up_to_the_headline_any_bound_counts() -> None:
    assert choose_pictures([0, 4, 3], headline=1, count=5) == [2, 1]


def test_misclassified_images_are_not_shown() -> None:
    assert choose_pictures([0, 0], headline=1, count=5) == []
    assert choose_pictures([], headline=1, count=5) == []
