"""What a network is built for: classes, and clips of one size."""

from torch import Tensor

Clip = tuple[int, int, int, int]
"""Input channels, frames, height, width."""


def clip_of(
    network: str, classes: int, clip: tuple[int, int, int], *, least: tuple[int, int] = (1, 1)
) -> Clip:
    """The clip a network is built for, from channels, frames and side, checked.

    ``least`` are the frames and the side that the network's strides need.
    Raises: ValueError if there is no class or channel, or the clip is too short or too small.
    """
    in_channels, frames, size = clip
    for name, value in (("classes", classes), ("in_channels", in_channels)):
        if value < 1:
            raise ValueError(f"{network}: {name} must be at least 1, got {value}")
    if frames < least[0]:
        raise ValueError(
            f"{network}: a clip of {frames} frames is too short for its temporal strides, "
            f"at least {least[0]} are needed"
        )
    if size < least[1]:
        raise ValueError(
            f"{network}: frames of {size}x{size} are too small for its spatial strides, "
            f"at least {least[1]}x{least[1]} are needed"
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
