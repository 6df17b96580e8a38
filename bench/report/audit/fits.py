"""Findings about what the printed figures were counted at: networks, classes, frames.

Their sentences' numbers are counted here.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidcost.bench.audit.recipe_grid import size
from vidcost.bench.audit.recipes import Recipe, figures
from vidcost.bench.audit.verdicts import KINDS, Judged, Verdict, still
from vidcost.bench.report.audit.claims import ours, printed, printed_gap
from vidcost.bench.report.table import billions, integer, millions
from vidcost.papers.catalog import select
from vidcost.papers.figures import Paper

IMAGENET = "classes=1000"
_TABLE_6 = ("r50-ucf101", "r50-nl-ucf101", "r50-pnl-ucf101")


@dataclass(frozen=True)
class Finding:
    """``equal`` is what paper and count agree on, ``differs`` what they do not.

    ``commands`` show it.
    """

    title: str
    equal: str
    differs: str
    commands: tuple[str, ...]


def clips_of_table_6(paper: Paper) -> Finding:
    """The baseline of Table 6 beside the dataset it stands for."""
    entry = printed(paper, 6, "r50-ucf101")
    assert entry.params
    assert entry.flops
    recipe = Recipe.parse("r50-ucf101 classes=200 frames=16")
    fitted, described = figures(recipe), ours("r50-ucf101")
    met = [name for name, value in fitted.flops.items() if entry.flops.equals(value)]
    row = recipe.row
    still(bool(met), f"{recipe.spec} gives {entry.flops.printed}")
    still(entry.params.equals(fitted.params), f"{recipe.spec} gives {entry.params.printed}")
    return Finding(
        title="Table 6's baseline fits another dataset and half the frames",
        equal=(
            f"Equal: both figures of R-50, {entry.params.printed} and {entry.flops.printed}, are "
            f"those of the C2D ResNet-50 at {recipe.words}: {integer(fitted.params)} parameters, "
            f"{billions(fitted.flops[met[0]])} FLOPs ({' and '.join(met)}). It is one of "
            f"{size(row)} recipes that the search tries."
        ),
        differs=(
            f"Differs: UCF101 has {row.classes} classes, and section 4.1.2 samples {row.frames} "
            f"frames for ResNet-50. That network has {integer(described.params)} parameters and "
            f"{billions(described.flops['macs'])} MACs. What the printed row was counted at is "
            "not stated; only the fit is shown here."
        ),
        commands=(recipe.command, "vidcost count r50-ucf101", "vidcost audit --search r50-ucf101"),
    )


def added_in_table_6(paper: Paper) -> Finding:
    """What the blocks of Table 6 add to its baseline."""
    plain, nl, pnl = (printed(paper, 6, row) for row in _TABLE_6)
    there = printed(paper, 5, "r50-nl")
    counted = [ours(row) for row in _TABLE_6]
    base, nl_macs, pnl_macs = (each.flops["macs"] for each in counted)
    of_classes = ours("r50-nl").params - counted[1].params
    here, on_mini_kinetics = select(["r50-nl-ucf101"])[0], select(["r50-nl"])[0]
    params, flops = printed_gap(nl.params, pnl.params), printed_gap(nl.flops, pnl.flops)
    still(
        nl_macs - base < float(printed_gap(nl.flops, plain.flops)) * 1e9,
        "NL adds fewer MACs than Table 6 prints",
    )
    return Finding(
        title="What a block adds in Table 6 is several times what it costs there",
        equal=(
            f"Equal: the two gaps that the text draws from the table, {params}M and {flops}G, "
            "are those of its printed figures, and the count agrees on the order: the PNL module "
            f"has {millions(counted[1].params - counted[2].params)} parameters and "
            f"{billions(nl_macs - pnl_macs)} MACs less than the non-local block."
        ),
        differs=(
            "Differs: in the table the non-local block adds "
            f"{printed_gap(nl.flops, plain.flops)}G to the baseline and the PNL module "
            f"{printed_gap(pnl.flops, plain.flops)}G. Before the last block of res4, with "
            f"{here.frames} frames, they need {billions(nl_macs - base)} and "
            f"{billions(pnl_macs - base)} MACs, attention products included. No recipe that was "
            "tried gives both figures of a row with a block; those that give the FLOPs of R-50 + "
            "NL and of R-50 + CGNL are of two different networks, and neither is the baseline's. "
            "What the rows were counted at is not known. The caption explains by fewer classes "
            f"that they are below Table 5: {here.classes} classes instead of "
            f"{on_mini_kinetics.classes} are {integer(of_classes)} parameters and next to no "
            f"FLOPs, and the rows with a non-local block are printed "
            f"{printed_gap(there.params, nl.params)}M and {printed_gap(there.flops, nl.flops)}G "
            "apart."
        ),
        commands=(
            "vidcost count 'r50*'",
            "vidcost audit --search r50-nl-ucf101",
            "vidcost audit --search r50-pnl-ucf101",
        ),
    )


def heads_of_table_5(paper: Paper, judged: tuple[Judged, ...]) -> Finding:
    """The ResNet-50 rows of Table 5."""
    head = Recipe.parse(f"r50-nl {IMAGENET}")
    sentences, commands = [], []
    for name in ("r50-nl", "r50-cgd", "r50-cgnl"):
        entry = printed(paper, 5, name)
        assert entry.params
        recipe = Recipe.parse(f"{name} {IMAGENET}")
        fitted = figures(recipe)
        still(entry.params.equals(fitted.params), f"{recipe.spec} gives {entry.params.printed}")
        sentences.append(
            f"{entry.label.split()[0]} {integer(fitted.params)} ({entry.params.printed})"
        )
        commands.append(recipe.command)
    extra = figures(Recipe.parse(f"r50-nl {IMAGENET}")).params - ours("r50-nl").params
    both = [
        each
        for each in judged
        if each.table == 5 and each.kind == "flops" and each.row in ("r50-cgd", "r50-cgnl")
    ]
    fits = "; ".join(
        f"{each.label.split()[0]} {billions(_met(each))} ({each.printed.printed})" for each in both
    )
    nl = printed(paper, 5, "r50-nl").flops
    pooled = figures(
        Recipe.parse(f"r50-nl {IMAGENET} temporal-pools=both-before-res2 keys=pooled")
    ).flops["fvcore"]
    assert nl is not None
    return Finding(
        title="Table 5's ResNet-50 rows have the head of ImageNet",
        equal=(
            f"Equal: with {head.words} all three parameter figures are met: "
            f"{', '.join(sentences)}. With both temporal poolings before res2 two of their FLOPs "
            f"are met as well: {fits}. The third, Res50-NL's {nl.printed}, is within "
            f"{abs(pooled / nl.value - 1):.2%} of {billions(pooled)} (fvcore, keys and values "
            "pooled 2x2), not met."
        ),
        differs=(
            f"Differs: Mini-Kinetics has {head.row.classes} classes; a head of {head.words} has "
            f"{integer(extra)} parameters more, and the MFNet rows beside them fit a head of "
            f"{select(['mfnet'])[0].classes}. As the text describes "
            "the network, one temporal pooling stands before res2 and one after it. The poolings "
            "and pooled keys are fitted: nobody documents them for these rows."
        ),
        commands=(
            *commands,
            Recipe.parse(f"r50-cgnl {IMAGENET} temporal-pools=both-before-res2").command,
            "vidcost audit --search r50-nl",
        ),
    )


def _met(judged: Judged) -> int:
    assert judged.fit is not None
    flops = figures(judged.fit.recipe).flops
    return next(value for value in flops.values() if judged.printed.equals(value))


def other_networks(judged: tuple[Judged, ...]) -> Finding:
    """The networks of Table 5 whose figures fit others."""
    sentences, commands = [], []
    for name in ("i3d-rgb", "c3d", "s3d"):
        of_row = [each for each in judged if each.row == name and each.table == 5]
        fit = next(each.fit for each in of_row if each.fit)
        given = figures(fit.recipe)
        described = of_row[0].ours
        assert described is not None
        figures_printed = " and ".join(each.printed.printed for each in of_row)
        words = fit.recipe.words if fit.recipe.row.name == name else f"row {fit.spec}"
        met = " and ".join(KINDS[each.kind] for each in of_row if each.fit)
        sentences.append(
            f"{of_row[0].label}: {figures_printed} printed; as its authors define it "
            f"{millions(described.params)} and {billions(described.flops['macs'])} MACs; "
            f"{words}: {millions(given.params)} and {billions(given.flops['macs'])} MACs, which "
            f"gives the printed {met} (one of {fit.tried} recipes)"
        )
        commands.append(fit.recipe.command)
    two_stream = next(each for each in judged if each.row == "i3d-ts" and each.kind == "params")
    assert two_stream.ours is not None
    still(two_stream.verdict is Verdict.EXACT, "I3D (TS) has the printed parameters")
    return Finding(
        title="Three compared networks are not printed as their authors define them",
        equal=(
            f"Equal: the two-stream I3D has {integer(two_stream.ours.params)} parameters, as "
            f"printed ({two_stream.printed.printed}), and MFNet's own figures are met."
        ),
        differs=(
            f"Differs: {'. '.join(sentences)}. These are fits to the printed figures, found by "
            "trying; where the figures come from is not stated."
        ),
        commands=(*commands, "vidcost count i3d-rgb c3d s3d"),
    )
