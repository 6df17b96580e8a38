"""Networks of other packages, a line of results/foreign.toml each; nothing is loaded."""

import importlib
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from vidcost.atlas.packages import import_torchvision
from vidcost.bench.user.network import parse

TABLE = Path(__file__).parents[2] / "results/foreign.toml"
MODULES = {
    "monai": "monai.networks.nets",
    "pytorchvideo": "pytorchvideo.models.hub",
    "torchvision": "torchvision.models",
}
"""Where a package has its networks, if not in the module of its name."""


@dataclass(frozen=True)
class Foreign:
    """A network of ``package``, with what its line in the table says.

    One that ``reads`` values has real weights, shrunk where the published are large; all others
    are on the meta device.
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
            if isinstance(value, dict):
                return {name: made(each) for name, each in value.items()}
            if isinstance(value, list):
                has_shapes = any(isinstance(x, str) for x in tree_leaves(value))
                return [made(each) for each in value] if has_shapes else torch.tensor(value)
            if not isinstance(value, str):
                return value
            if " " not in value:
                return parse(value).tensor(generator)
            runs = (each.partition("*")[::2] for each in value.split())
            return torch.tensor([[int(token) for token, n in runs for _ in range(int(n or 1))]])

        found = made(self.inputs)
        if not self.reads:
            found = tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, found)
        return tuple(found) if isinstance(found, list) else found

    def _built(self) -> nn.Module:
        # networks of other packages do not need it
        with suppress(ImportError):
            import_torchvision()
        # behind a space the names of one network's settings differ
        inside, _, name = self.name.split()[0].rpartition(".")
        module = MODULES.get(self.package, self.package) + (f".{inside}" if inside else "")
        found = importlib.import_module(module)
        if self.package in ("timm", "open_clip"):
            return found.create_model(name)
        if self.package == "torchvision":
            return found.get_model(name)
        kind = getattr(found, name)
        if self.package == "transformers":
            return kind(kind.config_class(**self.config))
        return kind(**self.config)


def networks() -> list[Foreign]:
    """All of them."""
    tables = tomllib.loads(TABLE.read_text("utf-8"))
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
