"""What a network is built for: classes, and clips of one size."""

from __future__ import annotations

from torch import Tensor

Clip = tuple[int, int, int, int]
"""Input channels, frames, height, width."""


def clip_of(
    network: str,
    *,
    classes: int,
    in_channels: int,
    frames: int,
    size: int,
    min_frames: int = 1,
    min_size: int = 1,
) -> Clip:
    """The clip a network is built for, checked.

    Raises: ValueError if there is no class or channel, or the clip is too short or too small for
            the network's strides.
    """
    if classes < 1:
        raise ValueError(f"{network}: classes must be at least 1, got {classes}")
    if in_channels < 1:
        raise ValueError(f"{network}: in_channels must be at least 1, got {in_channels}")
    if frames < min_frames:
        raise ValueError(
            f"{network}: a clip of {frames} frames is too short for its temporal strides, "
            f"at least {min_frames} are needed"
        )
    if size < min_size:
        raise ValueError(
            f"{network}: frames of {size}x{size} are too small for its spatial strides, "
            f"at least {min_size}x{min_size} are needed"
        )
    return in_channels, frames, size, size


def check_clip(x: Tensor, clip: Clip) -> None:
    """Reject a batch of other clips than the network was built for.

    Raises: ValueError that names both shapes.
    """
    if x.dim() != 5 or tuple(x.shape[1:]) != clip:
        raise ValueError(
            f"built for clips of shape (B, {', '.join(map(str, clip))}), got {tuple(x.shape)}: "
            "build the network with these frames, size and in_channels"
        )
