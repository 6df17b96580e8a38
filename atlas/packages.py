"""Networks of installed packages as rows, by name: ``torchvision/swin3d_t``, ``hf:videomae/base``.

A name is PACKAGE/NAME, of mmaction2 that of a config, or one of networks.toml, which has networks
that take options. All take clips of channels first. Nothing is downloaded.
"""

import difflib
import importlib
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from copy import deepcopy
from functools import cache, partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidcost.bench.count.references.reference import version
from vidcost.papers.row import Row
from vidcost.papers.source import Size, files, source


@cache
def named() -> dict[str, dict[str, Any]]:
    """The networks of networks.toml: ``of``, PACKAGE/NAME, and options."""
    return tomllib.loads(Path(__file__).with_name("networks.toml").read_text(encoding="utf-8"))


@cache
def row(name: str) -> Row:
    """The network ``name`` at the first clip, and with the classes, that a source prints it with.

    Raises: ValueError that names others if no source prints it.
    """
    prints = {p.network: p for each in reversed(files()) for p in [*source(each).prints()][::-1]}
    if (first := prints.get(name)) is None:
        near = difflib.get_close_matches(name, prints, n=3, cutoff=0.4)
        raise ValueError(f"no network {name!r} in published tables; near: {', '.join(near) or '-'}")
    options = named().get(name, {"of": name})
    package = options["of"].partition("/")[0]
    # an answer about a row is kept under its note, too
    note = f"{package} {version(package)}: {', '.join(f'{k}={v}' for k, v in options.items())}"
    return Row(name, partial(build, name), first.classes, ((3, *first.clip),), note)


def build(name: str, *, classes: int, frames: int, size: int) -> nn.Module:
    """The network that a name stands for, with fresh weights, on torch's default device.

    Raises: ValueError if its package is not installed, or has no such network; what the package
            raises if it cannot build the network so.
    """
    options = deepcopy(named().get(name, {"of": name}))
    package, _, known_as = options.pop("of").partition("/")
    try:
        with redirect_stdout(StringIO()):
            made: nn.Module = PACKAGES[package](known_as, classes, (frames, size, size), options)
            return made
    except ImportError as error:
        raise ValueError(f"needs {package} ({error}): pip install 'vidcost[zoo]'") from None
    except (AttributeError, OSError) as error:
        raise ValueError(f"{package} has no network {known_as!r}: {error}") from None


class _Called(nn.Module):
    """A network called as its package does: ``call`` gets it and the clip."""

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.network, x)


class _Read(TorchFunctionMode):
    """Keeps what networks read while they are built off the meta device: rates and multipliers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = {"device": "cpu"} if func in (torch.linspace, torch.ones) else {}
        return func(*args, **device | (kwargs or {}))


def _is_on_meta() -> bool:
    return torch.get_default_device().type == "meta"


def _made(make: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Built where torch builds by default; where building reads values that meta lacks, on the CPU
    and then moved there.
    """
    if not _is_on_meta():
        return make(**options)
    try:
        with _Read():
            made = make(**options)
    except (RuntimeError, NotImplementedError):
        with torch.device("cpu"):
            made = make(**options)
    return made.to("meta")


def _resolved(value: Any, module: ModuleType) -> Any:
    """``value`` with each text ``@NAME`` as the attribute of ``module``."""
    if isinstance(value, list):
        return [_resolved(each, module) for each in value]
    is_name = isinstance(value, str) and value.startswith("@")
    return getattr(module, value[1:]) if is_name else value


_kept: list[object] = []
"""Libraries of operators: they must live as long as their definitions."""


@cache
def import_torchvision() -> None:
    """Import torchvision, beside a build of torch that does not know its operators, too.

    The import registers shapes for operators of its compiled part, which such a torch cannot load:
    their names are defined first, without an implementation.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _kept.append(library)
    while True:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            before, _, name = str(error).removesuffix(" does not exist").rpartition("torchvision::")
            if before != "operator ":
                raise
            for each in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
                del sys.modules[each]
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        else:
            return


def _of_functions(
    places: tuple[str, ...], name: str, classes: int, clip: Size, options: dict[str, Any]
) -> nn.Module:
    """A network that a function or class of a package makes, for clips of channels first."""
    import_torchvision()
    module = next(filter(lambda m: hasattr(m, name), map(importlib.import_module, places)), None)
    if module is None:
        raise AttributeError(f"not in {' or '.join(places)}")
    make, alpha = getattr(module, name), options.pop("alpha", 4)
    # classes of blocks stand beside the network in its file
    beside = sys.modules[make.__module__]
    is_of_pytorchvideo = places[0].startswith("pytorchvideo")
    head = "head_num_classes" if "mvit" in name else "model_num_class"
    options[head if is_of_pytorchvideo else "num_classes"] = classes
    network = _made(make, **{key: _resolved(value, beside) for key, value in options.items()})
    if "slowfast" in name:
        return _Called(network, lambda model, x: model([x[:, :, ::alpha], x]))
    return network


def _of_transformers(name: str, classes: int, clip: Size, options: dict[str, Any]) -> nn.Module:
    # it imports torchvision where that is installed
    with suppress(ImportError):
        import_torchvision()
    cls = getattr(importlib.import_module("transformers"), name)
    module = vars(sys.modules[cls.__module__])
    if _is_on_meta() and "get_sinusoid_encoding_table" in module:
        # made number by number in Python, half a minute for a large clip
        module["get_sinusoid_encoding_table"] = lambda *shape: torch.empty(1, *shape)
    sized = options.get("vision_config", options)
    sized[options.pop("frames", "num_frames")] = clip[0]
    sized[options.pop("size", "image_size")] = clip[1]
    part, tokens = options.pop("part", None), options.pop("tokens", None)
    network = _made(lambda: cls(cls.config_class(**options, num_labels=classes)))
    network = getattr(network, part) if part else network
    return _Called(network, partial(_of_frames, tokens))


def _of_frames(tokens: int | None, model: nn.Module, x: Tensor) -> Any:
    """A video, frames first, beside one text of so many tokens."""
    video = x.transpose(1, 2)
    if tokens is None:
        return model(video)
    ids = torch.zeros(len(x), tokens, dtype=torch.int64, device=x.device)
    return model(input_ids=ids, pixel_values=video)


@cache
def _mmaction() -> tuple[Any, Path]:
    """How mmaction2 builds a model, and the folder of its configs.

    Two of its parts are replaced by empty ones: the wheel lacks a file of the localizers, and the
    multimodal networks are not made for current transformers.
    """
    import_torchvision()
    for part in ("localizers", "multimodal"):
        name = f"mmaction.models.{part}"
        sys.modules.setdefault(name, ModuleType(name))
    folder = Path(importlib.import_module("mmaction").__file__ or "").parent
    importlib.import_module("mmaction.models")
    importlib.import_module("mmengine.registry").init_default_scope("mmaction")
    # it says much while it builds
    logger = importlib.import_module("mmengine.logging").MMLogger
    logger.get_instance("mmengine", log_level="ERROR")
    build = importlib.import_module("mmaction.registry").MODELS.build
    return build, folder / ".mim" / "configs" / "recognition"


_SIZES = {"spatial_size": 1, "img_size": 1, "input_resolution": 1}
_SIZES |= {"temporal_size": 0, "num_frames": 0, "t_size": 0}
"""Arguments of mmaction2's backbones by the index of the clip's extent that they repeat."""


def _of_mmaction(name: str, classes: int, clip: Size, options: dict[str, Any]) -> nn.Module:
    build, folder = _mmaction()
    config = importlib.import_module("mmengine.config").Config.fromfile(folder / f"{name}.py")
    model = _without_weights(config.model.to_dict())
    backbone, head = model["backbone"], model["cls_head"]
    backbone |= {key: clip[axis] for key, axis in _SIZES.items() if key in backbone} | options
    head["num_classes"] = classes
    for part in (backbone, head):
        if "num_segments" in part:
            part["num_segments"] = clip[0]
    # recognizers of frames take these first, others several clips of a video
    is_of_frames = model["type"] == "Recognizer2D"
    return _Called(
        _made(lambda: build(model)),
        lambda each, x: each(x.transpose(1, 2) if is_of_frames else x[:, None], stage="head"),
    )


def _without_weights(config: Any) -> Any:
    """A config of mmaction2 that loads nothing."""
    if isinstance(config, Mapping):
        return {
            key: None if key in ("pretrained", "pretrained3d") else _without_weights(value)
            for key, value in config.items()
            if key != "init_cfg"
        }
    return [_without_weights(each) for each in config] if isinstance(config, list) else config


_PARTS = "hub", "slowfast", "resnet", "csn"
PACKAGES: dict[str, Callable[[str, int, Size, dict[str, Any]], nn.Module]] = {
    "torchvision": partial(_of_functions, ("torchvision.models.video",)),
    "pytorchvideo": partial(_of_functions, tuple(f"pytorchvideo.models.{p}" for p in _PARTS)),
    "hiera-transformer": partial(_of_functions, ("hiera",)),
    "transformers": _of_transformers,
    "mmaction2": _of_mmaction,
}
"""What builds a network from its name, classes, clip and options, by package."""
