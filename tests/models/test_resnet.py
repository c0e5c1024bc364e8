import torch
from torch import nn

from hiresnn.models import build
from hiresnn.models.networks import BasicBlock


def only_centre(convolution, factor):
    nn.init.zeros_(convolution.weight)
    convolution.weight.data[:, :, 1, 1] = factor


def test_resnet12_has_twelve_layers_and_three_projections():
    with torch.device("meta"):
        network = build("resnet12", 10)
    stem = 1_728 + 2 * 36_864  # 3*64*9, 64*64*9 twice
    blocks = (
        2 * 36_864  # 64*64*9 twice, identity
        + (73_728 + 147_456 + 8_192)  # 64*128*9, 128*128*9, 64*128
        + (294_912 + 589_824 + 32_768)
        + (1_179_648 + 2_359_296 + 131_072)
    )
    linear = 2_048 * 10  # 32 pooled to 16, then 8, 4, 2: 2*2*512 features
    assert sum(parameter.numel() for parameter in network.parameters()) == stem + blocks + linear


def test_the_stem_is_three_convolutions_and_a_pool():
    names = list(dict(build("resnet12", 10, width=1 / 64).named_children()))
    assert names == [
        *("conv1", "relu1", "drop1"),
        *("conv2", "relu2", "drop2"),
        *("conv3", "relu3", "pool1"),
        *("block1", "block2", "block3", "block4"),
        *("flatten", "linear1"),
    ]


def test_the_activation_comes_after_the_sum_with_the_shortcut():
    block = BasicBlock(1, 1, stride=1, dropout=0.2).eval()
    only_centre(block.conv1, 3.0)
    only_centre(block.conv2, 0.5)
    features = torch.tensor([2.0, -2.0]).view(2, 1, 1, 1)
    # relu(0.5 * relu(3 * 2) + 2) = 5 and relu(0.5 * relu(3 * -2) - 2) = 0
    assert block(features).flatten().tolist() == [5.0, 0.0]
    only_centre(block.conv2, -1.0)
    # relu(-relu(3 * 2) + 2) = relu(-4) = 0
    assert block(features).flatten().tolist() == [0.0, 0.0]


def test_the_shortcut_is_projected_only_where_the_shape_changes():
    assert isinstance(BasicBlock(4, 4, stride=1, dropout=0.0).shortcut, nn.Identity)
    for block in (BasicBlock(4, 8, stride=1, dropout=0.0), BasicBlock(4, 4, stride=2, dropout=0.0)):
        assert isinstance(block.shortcut, nn.Conv2d)
        assert block.shortcut.kernel_size == (1, 1)
        assert block.shortcut.stride == block.conv1.stride


def test_a_projected_block_adds_the_projection():
    block = BasicBlock(1, 2, stride=2, dropout=0.0).eval()
    nn.init.zeros_(block.conv2.weight)
    block.shortcut.weight.data = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    features = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    # rows and columns 0 and 2: 1, 3, 7, 9, doubled in the first channel, negative (so 0) in the second
    assert block(features).flatten().tolist() == [2.0, 6.0, 14.0, 18.0, 0.0, 0.0, 0.0, 0.0]
