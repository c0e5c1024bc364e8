"""The images that a caller passes from Python, in whatever form, as checked batches or as two tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hiresnn.data.dataset import Split
from hiresnn.data.loader import Batches
from hiresnn.errors import DataError, UsageError, in_a_line

Batch = tuple[Tensor, Tensor]
LabelledImages = tuple[Tensor, Tensor] | Split | Dataset[Any] | Iterable[Batch]


class UserBatches:
    """Batches of a user's images: float32 in [0, 1] and int64 labels on `device`; everything is checked.

    Raises:
        UsageError: a batch size below 1, or no images.
        DataError: images or labels of the wrong type, shape or range.
    """

    def __init__(
        self,
        name: str,
        images: LabelledImages,
        batch_size: int,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> None:
        shuffle = generator is not None
        self._tensors: tuple[Tensor, ...] = ()
        if isinstance(images, Tensor):
            raise UsageError(f"{name} has no labels; give (images, labels), two tensors.")
        if isinstance(images, list) and images and not any(isinstance(each, (tuple, list)) for each in images):
            images = tuple(images)  # images and labels; a list of batches has pairs
        if isinstance(images, Split):
            images = (images.images, images.labels)
        if isinstance(images, tuple):
            if len(images) != 2:
                raise UsageError(f"{name} is a tuple of {len(images)}; give (images, labels).")
            pixels, labels = map(torch.as_tensor, images)  # also of NumPy
            labels = _checked(pixels, labels, name)
            self._tensors = pixels, labels
            if pixels.dtype == torch.uint8:
                split = Split(pixels, labels.long())
                images = Batches(split, batch_size, device=device, shuffle=shuffle, generator=generator)
            else:
                images = TensorDataset(pixels, labels)
        if isinstance(images, Dataset) and not isinstance(images, IterableDataset):
            images = DataLoader(images, batch_size, shuffle=shuffle, generator=generator)
        self.name, self.device, self.source = name, device, images
        self.generator: torch.Generator | None = getattr(images, "generator", None)
        try:
            empty = not len(self)
        except TypeError:
            raise UsageError(
                f"{name} has no length; give a list of batches, a Dataset with a length, or a DataLoader over one."
            ) from None
        if empty:
            raise UsageError(f"{name} has no images.")

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def content(self) -> str:
        """Return the SHA-256 of images and labels that were given as tensors; all other sources have the same."""
        digest = hashlib.sha256()
        for tensor in self._tensors:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.source)
        for number in range(1, len(self) + 1):
            try:
                pixels, labels = next(batches)
            except StopIteration:
                return
            except (TypeError, ValueError) as error:
                reason = in_a_line(error)
                raise DataError(
                    f"batch {number} of {self.name} cannot be read ({reason}); its items must be (image, label) with "
                    "the image as a tensor, for example with transform=torchvision.transforms.ToTensor()."
                ) from error
            pixels = torch.as_tensor(pixels)
            labels = _checked(pixels, torch.as_tensor(labels), f"batch {number} of {self.name}")
            shown = pixels.to(self.device, torch.float32)
            yield shown.div_(255) if pixels.dtype == torch.uint8 else shown, labels.to(self.device, torch.int64)


def labelled(images: Tensor | LabelledImages, labels: Tensor | None, batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Return images and labels as tensors; without `labels`, `images` must have them, see `tensors`."""
    if labels is None:
        return tensors(images, batch_size=batch_size)
    return torch.as_tensor(images), torch.as_tensor(labels)


def tensors(images: LabelledImages, *, name: str = "images", batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Read all images and labels of a Dataset, a DataLoader, a Split or a pair of arrays.

    Args:
        images: (images [N, C, H, W], labels [N]); a Split; a Dataset of (image, label); or batches with a length, such
            as a DataLoader. Images are uint8, or floats in [0, 1].
        name: what to call them in a message. batch_size: how many images of a Dataset are read at a time.

    Returns:
        Images as float32 in [0, 1] and labels as int64, on the CPU. All of them must fit into memory.

    Raises:
        UsageError: no images, or images without labels.
        DataError: images or labels of the wrong type, shape or range.

    Example:
        >>> images, labels = hiresnn.data.tensors(test_loader)  # doctest: +SKIP
        >>> card = hiresnn.run_audit(network, images, labels)  # doctest: +SKIP
    """
    batches = UserBatches(name, images, batch_size, torch.device("cpu"))
    pixels, labels = zip(*batches, strict=True)
    return torch.cat(pixels), torch.cat(labels)


def _checked(images: Tensor, labels: Tensor, what: str) -> Tensor:
    """Return the labels as [N], or raise DataError."""
    if labels.dim() == 2 and labels.shape[1] == 1:  # as in the data sets of MedMNIST
        labels = labels[:, 0]
    if images.dim() != 4 or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise DataError(
            f"{what}: images have shape {tuple(images.shape)} and labels {tuple(labels.shape)} ({labels.dtype}); give "
            "images [N, C, H, W] and whole numbers [N]."
        )
    if len(labels) and labels.min() < 0:
        raise DataError(f"{what}: a label is {int(labels.min())}; labels are class numbers counted from 0.")
    low, high = (images.min().item(), images.max().item()) if images.numel() else (0, 0)
    if images.dtype != torch.uint8 and not (images.is_floating_point() and low >= 0 and high <= 1):
        hint = "divide them by 255" if high > 1 and low >= 0 else "leave normalisation to the network"
        raise DataError(f"{what}: images ({images.dtype}) reach from {low:g} to {high:g}, not from 0 to 1; {hint}.")
    return labels
