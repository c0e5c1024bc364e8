"""Audit a spiking network of two classes on spectrograms whose features have a range of their own.

    python benchmarks/audit_sensor.py OUT

Makes 800 recordings of a vibrating machine from seed 0: a hum of 50 Hz with harmonics and noise, in the second class
with the side bands of a worn bearing. Their log spectrograms, 16 frequencies x 16 frames in decibels, are normalised
per frequency (mean 0, standard deviation 1, clipped at 4), as is usual for sensors. Trains an ANN on 600 of them,
converts it to a spiking network and fine-tunes it with `fit`; audits it with the preset quick on the other 200 at a
bound of 1/16 of the range of each feature, which is half a standard deviation. Writes the card to OUT.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from hiresnn import convert, fit, run_audit
from hiresnn.audit.inputs import image_form

FREQUENCIES, FRAMES, CLIP = 16, 16, 4.0


def recordings(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(log power in dB [count, FREQUENCIES, FRAMES], labels [count])."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.arange(32 * (FRAMES + 1)) / 1000
    labels = torch.arange(count) % 2
    phase = torch.rand(count, 4, 1, generator=generator) * 2 * torch.pi
    speed = 50 + 4 * torch.rand(count, 1, generator=generator)
    signal = sum(torch.sin(2 * torch.pi * speed * order * samples + phase[:, order - 1]) / order for order in (1, 2, 3))
    side = torch.sin(2 * torch.pi * 6.3 * speed * samples + phase[:, 3]) * (1 + torch.sin(2 * torch.pi * 13 * samples))
    signal = signal + 0.35 * labels[:, None] * side + 0.3 * torch.randn(count, len(samples), generator=generator)
    power = torch.stft(signal, 32, 32, window=torch.hann_window(32), center=False, return_complex=True).abs() ** 2
    return 10 * torch.log10(power[:, 1 : FREQUENCIES + 1, :FRAMES] + 1e-3), labels


class Normalised(nn.Module):
    """The spiking network, which takes values in [0, 1], as one of normalised spectrograms [B, frequency, frame]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.timesteps = network, network.timesteps

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        return self.network((spectrograms[:, None] + CLIP) / (2 * CLIP))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    spectrograms, labels = recordings(800)
    mean, deviation = (
        statistic((0, 2), keepdim=True) for statistic in (spectrograms[:600].mean, spectrograms[:600].std)
    )
    inputs = ((spectrograms - mean) / deviation).clamp(-CLIP, CLIP)
    images = ((inputs + CLIP) / (2 * CLIP))[:, None]
    ann = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(512, 32, bias=False), nn.ReLU(), nn.Linear(32, 2, bias=False),
    )  # fmt: skip
    optimiser = torch.optim.Adam(ann.parameters(), 2e-3)
    for _ in range(300):
        rows = torch.randint(0, 600, (64,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(ann(images[rows]), labels[rows]).backward()
        optimiser.step()
    network = convert(ann, images[:200], timesteps=8).eval()
    network = fit(network, (images[:600], labels[:600]), method="traditional", epochs=3).network.eval()
    # The audited network takes normalised spectrograms, and the audit gets their range.
    model, scaled = image_form(Normalised(network), inputs[600:], -CLIP, CLIP)
    card = run_audit(
        model,
        scaled,
        labels[600:],
        eps=1 / 16,
        name="spectrograms, 2 classes",
        classes=["sound", "worn"],
        folder=Path(sys.argv[1]),
    )
    print(card.conclusion.headline)
    for point in card.curve:
        print(f"{point.bound}: PGD {point.pgd.percent:.1f} %, worst case {point.worst.percent:.1f} %")


if __name__ == "__main__":
    main()
