"""Operations of two layers and a readout that are easy to add up by hand."""

from hiresnn.analysis import EnergyReport, LayerOperations


def report(*, zeta: float = 0.5, acs: float = 40.0, rate: bool = False, timesteps: int = 4) -> EnergyReport:
    """A convolution on the image (direct) or on spikes (rate), neurons, a linear layer on spikes."""
    first = LayerOperations(
        name="conv1", kind="conv", inputs="spikes" if rate else "image", sources=10, units=20, dense=1000,
        connections=900, activity=3.0 if rate else 1.0, events=10.0, macs=0.0 if rate else 900.0,
        acs=2700.0 if rate else 0.0, multiplications=0.0, parameters=50, state_bytes=0,
    )  # fmt: skip
    neurons = LayerOperations(
        name="relu1", kind="neurons", inputs="current", sources=20, units=20, dense=0, connections=0, activity=0.0,
        events=40.0, macs=0.0, acs=120.0, multiplications=80.0, parameters=2, state_bytes=80,
    )  # fmt: skip
    last = LayerOperations(
        name="linear1", kind="linear", inputs="spikes", sources=20, units=10, dense=200, connections=200,
        activity=zeta, events=40.0, macs=0.0, acs=acs, multiplications=0.0, parameters=200, state_bytes=0,
    )  # fmt: skip
    return EnergyReport((first, neurons, last), timesteps)
