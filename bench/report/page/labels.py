"""Labels beside points, none over another.

In a browser Vega's label transform does it. It measures on a canvas, which a program without a
browser has not, so for files the points are drawn once, and the labels put where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import vl_convert

Spec = dict[str, Any]

POINTS, LABELS, LINE = "points", "labels", "front"
"""Names of a spec's layers: labels are put beside points, and in a browser off the line."""
FONT = "Helvetica, Arial, sans-serif"
FONT_SIZE = 12
INK = "#1a1d21"
LETTER = 0.56
"""The mean width of a letter over the font's size."""
MARGIN = 12
"""How many pixels a label may reach into the axis's labels, which are rarely at its height."""
_ANCHORS = (
    *("right", "left", "top", "bottom"),
    *("top-right", "bottom-right", "top-left", "bottom-left"),
)
"""Places beside a point, best first."""
POINT = 5
"""Half of a point's side in pixels, with some air."""


class Box(NamedTuple):
    """Pixels: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a pixel in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Placed(NamedTuple):
    """A label's text, the room it takes, and which end of it is held there.

    The width is a guess, so the end next to the point is held.
    """

    text: str
    box: Box
    align: Literal["left", "center", "right"]


def in_browser(vega: Spec) -> None:
    """Have Vega place the labels of a compiled spec, if it has any."""
    for group in _groups(vega):
        marks: Sequence[Spec] = group.get("marks", ())
        names = {mark.get("name") for mark in marks}
        for mark in marks:
            if mark.get("name") == f"{LABELS}_marks":
                mark["from"] = {"data": f"{POINTS}_marks"}
                mark["encode"] = {"update": {"text": {"field": "datum.label"}} | _look()}
                mark["transform"] = [
                    {
                        "type": "label",
                        "size": {"signal": "[width + 4, height + 4]"},
                        "anchor": list(_ANCHORS),
                        "offset": [5, 5, 4, 4, 2, 2, 2, 2],
                        "padding": MARGIN,
                        "avoidMarks": sorted({f"{LINE}_marks"} & names),
                    }
                ]


def in_file(vega: Spec) -> None:
    """Put the labels of a compiled spec of a fixed width where there is room, if it has any."""
    for group in _groups(vega):
        marks: list[Spec] = group.get("marks", [])
        found = [mark for mark in marks if mark.get("name") == f"{LABELS}_marks"]
        for mark in found:
            scene = vl_convert.vega_to_scenegraph(vega)["scenegraph"]
            at = [(item["x"], item["y"], item["text"]) for item in _items(scene, mark["name"])]
            line = sorted((item["x"], item["y"]) for item in _items(scene, f"{LINE}_marks"))
            marks.remove(mark)
            marks += [_text(placed) for placed in place(at, line, right=vega["width"])]


def place(
    points: Sequence[tuple[float, float, str]],
    stairs: Sequence[tuple[float, float]] = (),
    *,
    right: float,
) -> list[Placed]:
    """A place for each label beside its point (x, y); one for which there is none is left out.

    ``stairs`` are the corners of a line that goes right, then up or down, and has no label on it.
    ``right`` is where the plot ends.
    """
    taken = [Box(x - POINT, y - POINT, x + POINT, y + POINT) for x, y, _ in points]
    line = [
        box
        for (x, y), (next_x, next_y) in pairwise(stairs)
        for box in (
            Box(x, y - 1, next_x, y + 1),
            Box(next_x - 1, min(y, next_y), next_x + 1, max(y, next_y)),
        )
    ]
    labels = []
    for x, y, text in points:
        free = [
            Placed(text, box, align)
            for box, align in _candidates(x, y, LETTER * FONT_SIZE * len(text))
            if box.left >= -MARGIN and box.right <= right and not any(map(box.meets, taken))
        ]
        if free:
            # better on the line than nowhere
            best = min(free, key=lambda placed: any(map(placed.box.meets, line)))
            taken.append(best.box)
            labels.append(best)
    return labels


def _candidates(
    x: float, y: float, width: float
) -> Iterator[tuple[Box, Literal["left", "center", "right"]]]:
    half = FONT_SIZE / 2
    right, left = x + POINT + 2, x - POINT - 2 - width
    over, under = y - POINT - FONT_SIZE, y + POINT
    places: tuple[tuple[float, float, Literal["left", "center", "right"]], ...] = (
        (right, y - half, "left"),
        (left, y - half, "right"),
        (x - width / 2, over, "center"),
        (x - width / 2, under, "center"),
        (right - 4, over, "left"),
        (right - 4, under, "left"),
        (left + 4, over, "right"),
        (left + 4, under, "right"),
    )
    for side, top, align in places:
        yield Box(side, top, side + width, top + FONT_SIZE), align


def _text(placed: Placed) -> Spec:
    box = placed.box
    x = {"left": box.left, "center": (box.left + box.right) / 2, "right": box.right}
    return {
        "type": "text",
        "interactive": False,
        "encode": {
            "update": {
                "x": {"value": round(x[placed.align], 1)},
                "y": {"value": round((box.top + box.bottom) / 2, 1)},
                "align": {"value": placed.align},
                "baseline": {"value": "middle"},
                "text": {"value": placed.text},
            }
            | _look()
        },
    }


def _look() -> Spec:
    return {
        "fill": {"value": INK},
        "fontSize": {"value": FONT_SIZE},
        "font": {"value": FONT},
    }


def _groups(group: Spec) -> Iterator[Spec]:
    yield group
    for mark in group.get("marks", ()):
        if mark["type"] == "group":
            yield from _groups(mark)


def _items(scene: Any, name: str) -> list[Spec]:
    """The items of the mark ``name`` in a scenegraph."""
    found: list[Spec] = []
    for item in scene.get("items", ()):
        found += [item] if scene.get("name") == name else _items(item, name)
    return found
