"""Networks that nobody here wrote: counted as their configuration says, reconciled, timed once.

All are built with random weights, small, and nothing is loaded from anywhere.
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import vidcost
from vidcost.models.cost import Cost

pytestmark = [
    pytest.mark.foreign,
    # what they warn of is theirs
    pytest.mark.filterwarnings("ignore"),
]

BATCH = 2


class Foreign(NamedTuple):
    """A network by its package; ``macs`` are the products, if the configuration tells them."""

    package: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    macs: Cost | None


def encoder(tokens: int, width: int, inner: int, layers: int) -> Cost:
    """A transformer's layers: four projections and two of the MLP; scores, and scores by values."""
    return Cost(
        linear=layers * BATCH * tokens * (4 * width * width + 2 * width * inner),
        matmul=layers * BATCH * 2 * tokens * tokens * width,
    )


WIDE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION = {**WIDE, "intermediate_size": 56, "patch_size": 16, "num_labels": 7}


def bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=101, intermediate_size=56, max_position_embeddings=32, **WIDE)
    )


def videomae() -> nn.Module:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(image_size=32, num_frames=4, tubelet_size=2, **VISION)
    return VideoMAEForVideoClassification(config)


def mamba() -> nn.Module:
    """As it runs without mamba_ssm."""
    from transformers import MambaConfig, MambaModel

    sizes = {"hidden_size": 24, "state_size": 5, "time_step_rank": 3, "conv_kernel": 4}
    return MambaModel(MambaConfig(vocab_size=101, num_hidden_layers=2, **sizes))


def mamba_macs() -> Cost:
    """Twice 48 channels of 11 tokens: in, to 3 + 2 x 5 and back, out; C times 5 states."""
    one = 2 * 24 * 48 + 48 * (3 + 2 * 5) + 3 * 48 + 48 * 24
    # 4 taps on 3 tokens of padding as well
    taps = (11 + 3) * 48 * 4
    return Cost(linear=2 * BATCH * 11 * one, conv=2 * BATCH * taps, matmul=2 * BATCH * 11 * 48 * 5)


def efficientnet(classes: int = 7) -> nn.Module:
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0", num_classes=classes)


def decoder() -> nn.Module:
    from x_transformers import Decoder, TransformerWrapper

    layers = Decoder(dim=24, depth=2, heads=3, attn_dim_head=8)
    return TransformerWrapper(num_tokens=101, max_seq_len=32, attn_layers=layers)


def unet() -> nn.Module:
    from monai.networks.nets import UNet

    return UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)


def unet_macs() -> Cost:
    """Maps of 16, 8 and 4 a side; every 3x3x3 has 27 products."""
    down = 8**3 * 1 * 4 * 27 + 4**3 * 4 * 8 * 27
    # the way past a strided convolution is one as well, past the lowest a 1x1x1
    past = down + 4**3 * 8 * 16
    lowest = 4**3 * 8 * 16 * 27
    # transposed, per input element: 8 + 16 channels to 4, 4 + 4 to 2; a convolution after each
    up = 4**3 * 24 * 4 * 27 + 8**3 * 8 * 2 * 27
    after = 8**3 * 4 * 4 * 27 + 16**3 * 2 * 2 * 27
    return Cost(conv=BATCH * (down + past + lowest + up + after))


def ids(tokens: int = 11) -> torch.Tensor:
    return torch.randint(0, 101, (BATCH, tokens))


FOREIGN = {
    "BERT": Foreign(
        "transformers",
        bert,
        lambda: {"input_ids": ids(), "attention_mask": torch.ones(BATCH, 11, dtype=torch.long)},
        # the pooler sees the first token
        encoder(11, 24, 56, 2) + Cost(linear=BATCH * 24 * 24),
    ),
    # 2x2x2 tubelets of 2x16x16
    "VideoMAE": Foreign(
        "transformers",
        videomae,
        lambda: torch.randn(BATCH, 4, 3, 32, 32),
        encoder(8, 24, 56, 2) + Cost(conv=BATCH * 8 * 3 * 2 * 16 * 16 * 24, linear=BATCH * 24 * 7),
    ),
    "EfficientNet-B0": Foreign(
        "efficientnet_pytorch",
        efficientnet,
        lambda: torch.randn(BATCH, 3, 64, 64),
        None,
    ),
    "decoder": Foreign(
        "x_transformers",
        decoder,
        ids,
        encoder(11, 24, 4 * 24, 2) + Cost(linear=BATCH * 11 * 24 * 101),
    ),
    "Mamba": Foreign("transformers", mamba, ids, mamba_macs()),
    "3D U-Net": Foreign("monai", unet, lambda: torch.randn(BATCH, 1, 16, 16, 16), unet_macs()),
}


def needs(package: str) -> None:
    """Leave a test out where its package is not installed, but never unseen in tox."""
    if importlib.util.find_spec(package) is None:
        why = f"no {package} here: `pip install -c constraints.txt -e '.[foreign]'` adds it"
        if "TOX_ENV_NAME" in os.environ:
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Foreign:
    # a network that asked for weights would fail
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen: Foreign = FOREIGN[request.param]
    needs(chosen.package)
    torch.manual_seed(0)
    return chosen


def test_it_is_counted_as_its_configuration_says(foreign):
    counted = vidcost.count(foreign.build(), foreign.inputs())
    found = counted.forward
    assert foreign.macs in (None, Cost(conv=found.conv, linear=found.linear, matmul=found.matmul))
    assert "not checked" == counted.closed_form
    assert ("meta", "") == (counted.counted_on, counted.why)


def test_every_counter_is_explained(foreign):
    found = vidcost.explain(foreign.build(), foreign.inputs())
    assert [] == [
        (entry.counter, entry.quantity, entry.status, entry.error, entry.off)
        for entry in found.entries
        if not entry.balanced
    ]
    assert [0] * 7 == [entry.remainder for entry in found.entries]


def test_efficientnet_b0_is_the_published_size():
    """At 224x224 with 1000 classes it is published with 5.3M parameters and 0.39B operations."""
    needs("efficientnet_pytorch")
    counted = vidcost.count(efficientnet(1000), torch.randn(1, 3, 224, 224))
    assert 5_288_548 == counted.params
    assert "0.39" == f"{counted.macs / 1e9:.2f}"
