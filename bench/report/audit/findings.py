"""What the audit found that changes a conclusion, in sentences whose numbers are counted here."""

from __future__ import annotations

from torch import nn

from vidcost.bench.audit.recipe_search import difference
from vidcost.bench.audit.recipes import Recipe, built, figures
from vidcost.bench.audit.verdicts import Judged, still
from vidcost.bench.count.modules import closed_forms
from vidcost.bench.formulas.claims import CLAIMED_N, SHAPE, at_place, for_one_clip, place
from vidcost.bench.formulas.symbols import printed as as_printed
from vidcost.bench.report.audit.claims import ours, printed, printed_gap, within_rounding
from vidcost.bench.report.audit.fits import (
    Finding,
    added_in_table_6,
    clips_of_table_6,
    heads_of_table_5,
    other_networks,
)
from vidcost.bench.report.table import billions, integer, millions
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.figures import Figure, Paper


def findings(paper: Paper, judged: tuple[Judged, ...]) -> tuple[Finding, ...]:
    """The findings, those that change most first."""
    return (
        _five_against_one(paper),
        clips_of_table_6(paper),
        added_in_table_6(paper),
        heads_of_table_5(paper, judged),
        _equation_4(),
        _weights_of_pnl(paper),
        other_networks(judged),
    )


def _five_against_one(paper: Paper) -> Finding:
    five, one = printed(paper, 5, "mfnet-pnl-x5"), printed(paper, 5, "mfnet-nl")
    assert five.flops
    assert one.flops
    counted, single, block = ours("mfnet-pnl-x5"), ours("mfnet-pnl"), ours("mfnet-nl")
    blind, seen = "thop-2020", "macs"
    products = {name: _attention(name) for name in ("mfnet-nl", "mfnet-pnl", "mfnet-pnl-x5")}
    modules = _modules("mfnet-pnl-x5", PNL)
    (nl,) = _modules("mfnet-nl", NonLocal).values()
    by_stage = {
        stage: sorted({cost for name, cost in modules.items() if name.startswith(f"{stage}.")})
        for stage in ("conv3", "conv4")
    }
    still(five.flops.equals(counted.flops[blind]), f"{blind} gives {five.flops.printed}")
    still(counted.flops[blind] < block.flops[blind], f"five PNL are below one NL in {blind}")
    still(counted.flops[seen] > block.flops[seen], "five PNL need more MACs than one NL")
    still(counted.params < block.params, "five PNL have fewer parameters than one NL")
    for name, flops in single.flops.items():
        still(flops < block.flops[name], f"one PNL costs less than one NL in {name}")
    return Finding(
        title="Five PNL modules against one non-local block: the order depends on the counter",
        equal=(
            f"Equal: under the convention that Table 3's baseline fits ({blind}), MFNet-PNL(×5) "
            f"has {billions(counted.flops[blind])} FLOPs, as printed ({five.flops.printed}), and "
            f"MFNet-NL {billions(block.flops[blind])}, close to the printed {one.flops.printed}; "
            "so by that counter five modules do cost less than one block. That one module costs "
            f"less than one block holds in every convention ({billions(single.flops[seen])} "
            f"against {billions(block.flops[seen])} MACs), and so does the claim that five have "
            f"fewer parameters ({millions(counted.params)} against {millions(block.params)})."
        ),
        differs=(
            "Differs: that counter hooks layers and cannot see a product of two activations, the "
            "N² term of the paper's own Equations 5 and 9. With those products counted the order "
            f"turns round: {billions(counted.flops[seen])} MACs against "
            f"{billions(block.flops[seen])}. The products are "
            f"{billions(products['mfnet-pnl-x5'])} in the five modules and "
            f"{billions(products['mfnet-nl'])} in the one block. A module in conv4 needs "
            f"{_billions(by_stage['conv4'])}, a block there {billions(nl)}; it is the modules in "
            f"conv3, on the larger maps, that need {_billions(by_stage['conv3'])} each. fvcore, "
            "which sees the products, says "
            f"{billions(counted.flops['fvcore'])} against {billions(block.flops['fvcore'])}."
        ),
        commands=(
            "vidcost count mfnet-pnl-x5 mfnet-nl",
            Recipe.parse("mfnet-pnl-x5").command,
            Recipe.parse("mfnet-nl").command,
            "vidcost count mfnet-pnl-x5 --depth 2",
        ),
    )


def _equation_4() -> Finding:
    form, derived = as_printed("nl"), for_one_clip(NonLocal(2))
    channels = {name: int(at_place(getattr(form, name))) for name in ("conv", "macs")}
    counted = {name: int(at_place(getattr(derived, name))) for name in ("conv", "macs")}
    pnl = {
        n: PNL(SHAPE[1], n=n, combine="concat").cost(SHAPE).macs
        / NonLocal(SHAPE[1]).cost(SHAPE).macs
        for n in CLAIMED_N
    }
    cheaper = ", ".join(f"{ratio:.1%} with n = {n}" for n, ratio in pnl.items())
    return Finding(
        title="Equation 4 has a factor C too many",
        equal=(
            "Equal: Equation 5, the products of two activations, is right, and so is the "
            "conclusion of section 3.3: a PNL module costs less than a non-local block "
            f"({cheaper} of it, without f_comb), and less the larger n is."
        ),
        differs=(
            "Differs: four 1x1x1 convolutions between C and C/2 channels take 2C²N products, not "
            f"2C³N. With {place()} that is {integer(counted['conv'])}, not "
            f"{integer(channels['conv'])}; Equation 6 gives {integer(channels['macs'])} for a "
            f"block that needs {integer(counted['macs'])}. Equations 8 and 9 inherit it: 1/n³ "
            "should be 1/n². So the saving that section 3.3 derives is too large in the "
            "convolutions, and N/4^k too large for maps of odd side."
        ),
        commands=("vidcost formulas",),
    )


def _weights_of_pnl(paper: Paper) -> Finding:
    lines, agree, off = [], [], []
    for table, name in (
        (3, "mfnet-pnl-concat"),
        (3, "mfnet-pnl"),
        (5, "mfnet-pnl-x5"),
        (5, "mfnet-nl"),
    ):
        entry, base = printed(paper, table, name), printed(paper, table, "mfnet")
        assert entry.params
        gap = printed_gap(entry.params, base.params)
        shared = ours(name).params - ours("mfnet").params
        line = f"{entry.label} {gap}M, counted {millions(shared)}"
        if name != "mfnet-nl":
            apart = figures(Recipe.parse(f"{name} weights=per-scale")).params
            line += f" (per scale {millions(apart - ours('mfnet').params)})"
        lines.append(line)
        flops = entry.flops
        assert flops
        off.append(difference(flops, ours(name).flops["thop-2020"]))
        agree.append(f"{entry.label} {billions(ours(name).flops['thop-2020'])} ({flops.printed})")
    slip = printed(paper, 3, "mfnet-pnl").params
    concat = printed(paper, 3, "mfnet-pnl-concat").params
    attention = ours("mfnet-pnl").params - ours("mfnet-pnl-concat").params
    said = Figure.parse("0.09M")
    still(not within_rounding(said, slip, concat), f"Table 3 contradicts {said.printed}")
    return Finding(
        title="PNL is printed with more parameters than one shared operation has",
        equal=(
            f"Equal: the FLOPs of these rows agree within {max(off):.2%} in thop-2020: "
            f"{'; '.join(agree)}. That attention costs {integer(attention)} parameters more than "
            f"concatenation fits Table 3 ({printed_gap(slip, concat)}M) and the text's \"less than "
            '0.12%".'
        ),
        differs=(
            "Differs: over the baseline the paper prints, and we count with the weights shared "
            f"between scales as section 3.2 says: {'; '.join(lines)}. One set of weights per scale "
            "comes nearer for PNL but gives none of the printed figures, and FLOPs cannot tell the "
            'two apart. Beside the whole network these differences are small, so "close" in the '
            f"table below says little about a block. The text's {said.printed} is not what its own "
            "table shows."
        ),
        commands=(
            "vidcost audit --search mfnet-pnl-concat",
            "vidcost audit --recipe 'mfnet-pnl-x5 weights=per-scale'",
        ),
    )


def _attention(row: str) -> int:
    return built(Recipe.parse(row))[1].total.matmul


def _modules(row: str, kind: type[nn.Module]) -> dict[str, int]:
    """The MACs inside each block of a row."""
    model, counted = built(Recipe.parse(row))
    return {
        check.module: check.counted.macs
        for check in closed_forms(model, counted)
        if isinstance(model.get_submodule(check.module), kind)
    }


def _billions(costs: list[int]) -> str:
    return " or ".join(map(billions, costs))
