"""Networks of installed packages, by reference: ``torchvision:swin3d_t``, ``mmaction2:CONFIG``.

networks.toml names networks that take options. All are built on the meta device, without weights.
"""

import importlib
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache, partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Size = tuple[int, int, int]
"""Frames, height, width."""


class MissingPackage(ValueError):
    """A network's package is not installed."""


class Built(NamedTuple):
    """A network on the meta device and the shape of the one clip that it takes, batch first."""

    model: nn.Module
    clip: tuple[int, ...]


@cache
def options() -> dict[str, dict[str, Any]]:
    """The networks of networks.toml: for each ``of``, a reference, and ``with``, its options."""
    text = Path(__file__).with_name("networks.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def build(reference: str, classes: int, clip: Size) -> Built:
    """The network that ``reference`` names for so many classes and clips of one size.

    Raises: MissingPackage; ValueError if no package has such a network, or it cannot be built so.
    """
    named = options().get(reference, {"of": reference})
    package, _, name = named["of"].partition(":")
    if package not in _PACKAGES or not name:
        known = ", ".join(_PACKAGES)
        raise ValueError(f"no network {reference!r}: write PACKAGE:NAME, packages are {known}")
    try:
        with redirect_stdout(StringIO()):
            return _PACKAGES[package](name, classes, clip, deepcopy(named.get("with", {})))
    except ImportError as error:
        missing = f"{reference} needs {package}: pip install 'vidcost[zoo]' ({error})"
        raise MissingPackage(missing) from None
    except (AttributeError, OSError) as error:
        raise ValueError(f"{package} has no network {name!r}: {error}") from None


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


def _made(make: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """Built on the meta device, or on the CPU where building reads values."""
    try:
        with torch.device("meta"), _Read():
            made = make(**options)
    except (RuntimeError, NotImplementedError):
        made = make(**options)
    return made.to("meta")


def _resolved(value: Any, module: ModuleType) -> Any:
    """``value`` with each text ``@NAME`` as the attribute of ``module``."""
    if isinstance(value, list):
        return [_resolved(each, module) for each in value]
    is_name = isinstance(value, str) and value.startswith("@")
    return getattr(module, value[1:]) if is_name else value


@cache
def _torchvision() -> ModuleType:
    """torchvision, beside a build of torch that lacks the operators of its compiled part as well.

    Such a torch does not know their names, and the import registers shapes for them: they are
    defined first, without an implementation.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    # the library must live as long as its definitions
    _kept.append(library)
    while True:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            name = str(error).removeprefix("operator torchvision::").removesuffix(" does not exist")
            if name == str(error):
                raise
            for each in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
                del sys.modules[each]
            library.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]


_kept: list[object] = []


def _of_torchvision(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    models = _torchvision().models
    is_video = hasattr(models.video, name)
    module = models.video if is_video else models
    if options:
        # classes of blocks stand beside the network in its file
        module = importlib.import_module(getattr(module, name).__module__)
    else:
        options["weights"] = None
    made = _made(getattr(module, name), num_classes=classes, **_values(options, module))
    return _of_clips(made, clip) if is_video else _of_frames(made, clip)


def _values(options: Mapping[str, Any], module: ModuleType) -> dict[str, Any]:
    return {key: _resolved(value, module) for key, value in options.items()}


def _of_clips(network: nn.Module, clip: Size) -> Built:
    return Built(network, (1, 3, *clip))


def _of_frames(network: nn.Module, clip: Size) -> Built:
    """A network of images over each frame, the frames in the batch."""
    return Built(network, (clip[0], 3, *clip[1:]))


def _of_pytorchvideo(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    _torchvision()
    for part in ("hub", "slowfast", "resnet", "csn"):
        module = importlib.import_module(f"pytorchvideo.models.{part}")
        if hasattr(module, name):
            break
    alpha = options.pop("alpha", 4)
    head = "head_num_classes" if "mvit" in name else "model_num_class"
    network = _made(getattr(module, name), **{head: classes}, **_values(options, module))
    if "slowfast" not in name:
        return _of_clips(network, clip)
    return _of_clips(_Called(network, lambda model, x: model([x[:, :, ::alpha], x])), clip)


def _of_transformers(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    _torchvision()
    cls = getattr(importlib.import_module("transformers"), name)
    module = sys.modules[cls.__module__]
    if hasattr(module, "get_sinusoid_encoding_table"):
        # made number by number in Python, half a minute for a large clip
        vars(module)["get_sinusoid_encoding_table"] = lambda tokens, width: torch.empty(
            1, tokens, width
        )
    sized = options.get("vision_config", options)
    sized[options.pop("frames", "num_frames")] = clip[0]
    sized[options.pop("size", "image_size")] = clip[1]
    options["num_labels"] = classes
    part, tokens = options.pop("part", None), options.pop("tokens", None)
    network = _made(lambda: cls(cls.config_class(**options)))
    network = getattr(network, part) if part else network
    if tokens:
        network = _Called(network, partial(_beside_text, tokens))
    return Built(network, (1, clip[0], 3, *clip[1:]))


def _beside_text(tokens: int, model: nn.Module, x: Tensor) -> Any:
    """A video beside one text of so many tokens."""
    ids = torch.zeros(1, tokens, dtype=torch.int64, device=x.device)
    return model(input_ids=ids, pixel_values=x)


def _of_hiera(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    _torchvision()
    module = importlib.import_module("hiera")
    made = _made(getattr(module, name), num_classes=classes, **options)
    return _of_clips(made, clip)


def _of_timm(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    _torchvision()
    create = importlib.import_module("timm").create_model
    return _of_frames(_made(lambda: create(name, num_classes=classes, **options)), clip)


def _of_vidcost(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    module, _, network = name.rpartition(".")
    found = getattr(importlib.import_module(f"vidcost.models.backbones.{module}"), network)
    made = _made(found, classes=classes, frames=clip[0], size=clip[1], **options)
    return _of_clips(made, clip)


@cache
def _mmaction() -> tuple[Any, Path]:
    """How mmaction2 builds a model, and the folder of its configs.

    Two of its parts are replaced by empty ones: the wheel lacks a file of the localizers, and the
    multimodal networks are not made for current transformers. It says much while it builds.
    """
    _torchvision()
    for part in ("localizers", "multimodal"):
        name = f"mmaction.models.{part}"
        sys.modules.setdefault(name, ModuleType(name))
    folder = Path(importlib.import_module("mmaction").__file__ or "").parent
    importlib.import_module("mmaction.models")
    importlib.import_module("mmengine.registry").init_default_scope("mmaction")
    logging = importlib.import_module("mmengine.logging")
    logging.MMLogger.get_instance("mmengine", log_level="ERROR")
    build = importlib.import_module("mmaction.registry").MODELS.build
    return build, folder / ".mim" / "configs" / "recognition"


_SIZES = {
    "spatial_size": 1, "img_size": 1, "input_resolution": 1,
    "temporal_size": 0, "num_frames": 0, "t_size": 0,
}  # fmt: skip
"""Arguments of mmaction2's backbones by the index of the clip's extent that they repeat."""


def _of_mmaction(name: str, classes: int, clip: Size, options: dict[str, Any]) -> Built:
    build, folder = _mmaction()
    config = importlib.import_module("mmengine.config").Config.fromfile(folder / f"{name}.py")
    model = _without_weights(config.model.to_dict())
    backbone, head = model["backbone"], model["cls_head"]
    backbone |= {key: clip[axis] for key, axis in _SIZES.items() if key in backbone}
    head |= {"num_classes": classes, **options.pop("head", {})}
    backbone |= options
    # segments of a network of frames
    for part in (backbone, head):
        if "num_segments" in part:
            part["num_segments"] = clip[0]
    is_of_frames = model["type"] == "Recognizer2D"
    network = _made(lambda: build(model))
    called = _Called(network, lambda each, x: each(x, stage="head"))
    return Built(called, (1, clip[0], 3, *clip[1:]) if is_of_frames else (1, 1, 3, *clip))


def _without_weights(config: Any) -> Any:
    """A config of mmaction2 that loads nothing."""
    if isinstance(config, Mapping):
        return {
            key: None if key in ("pretrained", "pretrained3d") else _without_weights(value)
            for key, value in config.items()
            if key != "init_cfg"
        }
    return [_without_weights(each) for each in config] if isinstance(config, list) else config


_PACKAGES: dict[str, Callable[[str, int, Size, dict[str, Any]], Built]] = {
    "torchvision": _of_torchvision,
    "pytorchvideo": _of_pytorchvideo,
    "transformers": _of_transformers,
    "hiera-transformer": _of_hiera,
    "timm": _of_timm,
    "mmaction2": _of_mmaction,
    "vidcost": _of_vidcost,
}
