"""The formulas' document and its tables: their numbers counted, the committed file kept fresh."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.formulas.claims import CLAIMED_N, SHAPE
from vidcost.bench.report.formulas import (
    formula_markdown,
    scales_table,
    value_table,
    verdict_table,
)
from vidcost.models.backbones.mfnet import MFNet
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL


def test_the_blocks_accept_the_n_that_fit():
    for line in scales_table().lines:
        accepted = []
        for scales in range(2, 13):
            try:
                with torch.device("meta"):
                    block = PNL(line["channels"], n=scales)
                block.cost((1, line["channels"], 1, line["side"], line["side"]))
            except ValueError:
                continue
            accepted.append(scales)
        assert accepted == line["floor"], line["stage"]


def test_the_maps_are_mfnets():
    stages = ("conv2", "conv3", "conv4", "conv5")
    with torch.device("meta"):
        model = MFNet(blocks={f"{stage}:after-1": lambda _: nn.Identity() for stage in stages})
        calls = count(model, torch.empty(1, 3, 16, 224, 224)).calls
    shapes = [call.input for call in calls if call.module.endswith("after_B01")]
    lines = [line for line in scales_table().lines if line["stage"].startswith("MFNet")]
    assert [(1, x["channels"], 8, x["side"], x["side"]) for x in lines] == shapes


def test_values_equal_the_count():
    lines = value_table().lines
    with torch.device("meta"):
        x = torch.empty(SHAPE)
        blocks = [NonLocal(384), *(PNL(384, n=m, combine="concat") for m in CLAIMED_N)]
        whole = [count(PNL(384, n=m), x).total.macs for m in CLAIMED_N]
    assert [count(block, x).total.macs for block in blocks] == [line["derived"] for line in lines]
    assert whole == [line["derived"] + line["f_comb"] for line in lines[1:]]
    # N (1 + 1/4 + 1/16) and N^2 (1 + 1/16 + 1/256), by hand
    assert 403_038_720 == lines[2]["smooth"]
    assert 28_246_880_256 == lines[1]["printed"]


def test_tables_are_raw_values_too():
    for table in (verdict_table(), scales_table(), value_table()):
        assert table.json().startswith("[")
        assert table.csv().count("\n") > len(table.lines) - 1


def test_the_document():
    document = formula_markdown()
    for name in ("NL", "CGNL", "CGD", "PNL"):
        assert 1 == document.count(f"\n## {name},")
    assert "| conv | $`2 C^{3} N`$ | $`2 C^{2} N`$ |" in document
    # what GitHub refuses, and what would leave a formula open
    assert "operatorname" not in document
    assert document.count("$`") == document.count("`$")


def test_the_committed_document_is_what_the_command_writes():
    committed = Path(__file__).parents[3] / "results/formulas.md"
    head = "<!-- written by: vidcost formulas -->\n\n"
    assert head + formula_markdown() == committed.read_text(encoding="utf-8"), (
        "results/formulas.md is stale: `vidcost formulas` writes it anew"
    )
