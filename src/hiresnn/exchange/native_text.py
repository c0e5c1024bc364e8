"""Text of the Python files that `native` writes."""

LEAKY = '''import snntorch


class Leaky(snntorch.Leaky):
    """A Leaky that resets within the step and only there.

    With reset_delay=False the library's own takes the threshold from a membrane above twice the threshold once more, in
    the next step and before it decides about a spike.
    """

    def mem_reset(self, mem):
        return torch.zeros_like(mem)
'''

NORMALISE = '''
class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation, channel by channel."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    def forward(self, images):
        return (images - self.mean) / self.std

'''
FILE = '''"""{source} as a {title} network, written by hiresnn.

    python {file}

compares its logits with those that hiresnn computed.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

{imports}

TIMESTEPS = {timesteps}
TENSORS = load_file(Path(__file__).with_name({weights!r}))

{normalise}
class Timestep(nn.Module):
    """What happens in one timestep: images [B, C, H, W] in [0, 1] -> logits [B, K] of this timestep."""

    def __init__(self):
        super().__init__()
{layers}

    def forward(self, images):
{steps}
        return {output}


class Network(nn.Module):
    """Images [B, C, H, W] in [0, 1] -> logits [B, K], summed over the timesteps; every call starts at rest."""

    def __init__(self):
        super().__init__()
        self.timestep = Timestep()
        weights = {{name: value for name, value in TENSORS.items() if not name.startswith("check.")}}
        missing, unknown = self.timestep.load_state_dict(weights, strict=False)  # neurons have their values above
        assert not unknown, unknown
        assert not [name for name in missing if name.endswith((".weight", ".bias", ".mean", ".std"))], missing
        self.eval()

    def forward(self, images, timesteps=TIMESTEPS):
        {rest}
        return sum(self.timestep(images) for _ in range(timesteps))


if __name__ == "__main__":
    with torch.no_grad():
        logits, expected = Network()(TENSORS["check.images"]), TENSORS["check.logits"]
    changed = int((logits.argmax(1) != expected.argmax(1)).sum())
    print(f"{{changed}} of {{len(logits)}} decisions differ from hiresnn; largest difference of a logit:", end=" ")
    print(f"{{float((logits - expected).abs().max()):.2g}}")
'''
