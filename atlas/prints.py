"""What sources and papers print of networks, and the row that each print is about."""

from vidcost.papers.catalog import folders, paper, printed_rows, select
from vidcost.papers.row import Row
from vidcost.papers.source import Print, Size, files, source


def row_at(network: str, classes: int, clip: Size) -> Row:
    """The row that ``network`` names, for so many classes and clips of one size.

    Raises: ValueError if no row has that name, or it does not take the clip.
    """
    return select([network])[0].at(classes=classes, frames=clip[0], size=clip[1])


def prints(name: str) -> tuple[Print, ...]:
    """What a source prints of networks, or a paper in tables that name a dataset.

    Rows of a paper go by their names, and those that cannot be built are left out.
    Raises: ValueError if there is neither, or it cannot be read.
    """
    if name in files():
        return tuple(source(name).prints())
    printed = paper(name)
    rows, found = printed_rows(printed), []
    for figure in printed.figures:
        row = rows[figure.row]
        if figure.dataset and row.build:
            top1 = float(figure.top1.removesuffix("%")) if figure.top1 else None
            clip = (row.frames, row.size, row.size)
            found.append(
                Print(
                    name,
                    f"Table {figure.table}",
                    figure.dataset,
                    row.classes,
                    row.name,
                    row.name,
                    clip,
                    clip,
                    "",
                    top1,
                    figure.params,
                    figure.flops,
                )
            )
    return tuple(found)


def printing() -> list[str]:
    """The sources, and the papers with a table that names a dataset, in alphabetical order."""
    found = [name for name in folders() if any(each.dataset for each in paper(name).figures)]
    return sorted([*files(), *found])
