"""Networks of other packages, a line of ``networks.toml`` each: nothing is loaded from anywhere."""

import importlib
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from vidcost.bench.user.network import parse


@dataclass(frozen=True)
class Foreign:
    """A network of ``package`` by its name there, and inputs as ``networks.toml`` explains them.

    ``macs`` are half of what torch's FlopCounterMode counts, and ``unseen``, worked out by hand:
    products that it has no formula for, which ``why`` names. A network that ``reads`` values has
    real weights, shrunk where the published are large; all others are on the meta device.
    """

    package: str
    name: str
    inputs: Any
    macs: int
    unseen: str = "0"
    why: str = ""
    reads: bool = False
    config: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.package}-{self.name}"

    def network(self) -> nn.Module:
        """The network in evaluation mode."""
        torch.manual_seed(0)
        if self.reads:
            return self._built().eval()
        try:
            with torch.device("meta"):
                return self._built().eval()
        except (RuntimeError, NotImplementedError):
            # it reads values while it is built
            return self._built().eval().to("meta")

    def arguments(self) -> Any:
        """The inputs, for :func:`vidcost.count`."""
        generator = torch.Generator().manual_seed(0)

        def made(value: Any) -> Any:
            if isinstance(value, str) and " " in value:
                runs = (each.partition("*")[::2] for each in value.split())
                return torch.tensor([[int(t) for t, n in runs for _ in range(int(n or 1))]])
            if isinstance(value, str):
                return parse(value).tensor(generator)
            if isinstance(value, dict):
                return {name: made(each) for name, each in value.items()}
            if isinstance(value, list):
                has_shapes = any(isinstance(x, str) for x in tree_leaves(value))
                return [made(each) for each in value] if has_shapes else torch.tensor(value)
            return value

        found = made(self.inputs)
        if not self.reads:
            found = tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, found)
        return tuple(found) if isinstance(found, list) else found

    def _built(self) -> nn.Module:
        _name_operators_of_torchvision()
        # behind a space the names of one network's settings differ
        return _BUILDERS.get(self.package, _attribute)(self.name.split()[0], self.config)


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@cache
def _name_operators_of_torchvision() -> None:
    """Let torchvision, and what imports it, be imported where its operators cannot be loaded.

    Its wheel asks for CUDA. Beside a torch for CPUs alone it imports once these two have names.
    """
    try:
        with suppress(ImportError):
            importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _found(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _attribute(name: str, config: dict[str, Any]) -> nn.Module:
    return _found(name)(**config)


def _configured(name: str, config: dict[str, Any]) -> nn.Module:
    kind = _found(f"transformers.{name}")
    return kind(kind.config_class(**config))


def _text(name: str, config: dict[str, Any]) -> nn.Module:
    layers = _found(f"x_transformers.{name}")(dim=256, depth=4, heads=8, **config)
    wrapper = _found("x_transformers.TransformerWrapper")
    return wrapper(num_tokens=256, max_seq_len=128, attn_layers=layers)


def _in(module: str) -> Callable[[str, dict[str, Any]], nn.Module]:
    return lambda name, config: _attribute(f"{module}.{name}", config)


_BUILDERS: dict[str, Callable[[str, dict[str, Any]], nn.Module]] = {
    "diffusers": _in("diffusers"),
    "efficientnet_pytorch": lambda name, _: _found("efficientnet_pytorch.EfficientNet").from_name(
        name
    ),
    "hiera": _in("hiera"),
    "monai": _in("monai.networks.nets"),
    "open_clip": lambda name, _: _found("open_clip.create_model")(name),
    "perceiver_pytorch": _in("perceiver_pytorch"),
    "pytorchvideo": _in("pytorchvideo.models.hub"),
    "segmentation_models_pytorch": lambda name, config: _found(
        f"segmentation_models_pytorch.{name}"
    )(**{"encoder_name": "resnet34", "encoder_weights": None} | config),
    "timm": lambda name, _: _found("timm.create_model")(name),
    "torchvision": lambda name, _: _found("torchvision.models.get_model")(name),
    "transformers": _configured,
    "vit_pytorch": _in("vit_pytorch"),
    "x_transformers": _text,
}


def networks() -> list[Foreign]:
    """All of them."""
    tables = tomllib.loads(Path(__file__).with_name("networks.toml").read_text("utf-8"))
    shared = tables.pop("shared")

    def complete(config: Any) -> Any:
        if isinstance(config, str) and config.startswith("$"):
            return complete(shared[config[1:]])
        if not isinstance(config, dict):
            return config
        base = complete(f"${config['with']}") if "with" in config else {}
        return base | {name: complete(x) for name, x in config.items() if name != "with"}

    return [
        Foreign(package, name, **line | {"config": complete(line.get("config", {}))})
        for package, lines in tables.items()
        for name, line in lines.items()
    ]
