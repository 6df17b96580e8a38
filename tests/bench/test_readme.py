"""What README shows is what the tool prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from vidcost.bench.count import record
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.store import Store
from vidcost.papers import catalog

CHECKOUT = Path(__file__).resolve().parents[2]


NO_GPU = "There are no results of a GPU yet: no file in `results/` was measured on one."


def between(first, last):
    """What stands in README between two comments."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    return readme.split(f"<!-- {first} -->\n", 1)[1].split(f"<!-- {last} -->", 1)[0].strip()


def body(path):
    """A written file below the line that says which command made it."""
    return path.read_text(encoding="utf-8").split("-->\n", 1)[1].strip()


def test_the_headline_is_what_was_printed_counted_and_measured():
    printed = {row.row: row.flops for row in catalog.paper().table(5)}
    counted = record.read(CHECKOUT / "results")
    path = CHECKOUT / "results/timings/nvidia-h100-80gb-hbm3-torch2.11.0.jsonl"
    timed = {timing.cell: timing for timing in Store(path).read().values()}
    names = {
        "without a block": "mfnet",
        "+ non-local": "mfnet-nl",
        "+ one PNL": "mfnet-pnl",
        "+ five PNLs": "mfnet-pnl-x5",
    }
    expected, of = [], {}
    for name, row in names.items():
        cells = [
            Cell(row=row, device="cuda", threads=1, batch=8, dtype=dtype)
            for dtype in ("fp32", "bf16")
        ]
        fp32, bf16 = of[row] = [figures(timed[cell]) for cell in cells]
        expected.append(
            [
                name,
                printed[row].printed,
                f"{counted[row].macs / 1e9:.3f}G",
                f"{fp32['median_s'] * 1e3:.2f}",
                f"{bf16['median_s'] * 1e3:.2f}",
                f"{fp32['peak_bytes'] / 1e6:,.1f}",
            ]
        )
    _, _, *lines = between("headline", "end of headline").splitlines()
    assert expected == [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    five, one = of["mfnet-pnl-x5"], of["mfnet-nl"]
    more = [a["median_s"] / b["median_s"] - 1 for a, b in zip(five, one, strict=True)]
    macs = counted["mfnet-pnl-x5"].macs / counted["mfnet-nl"].macs - 1
    memory = five[0]["peak_bytes"] / one[0]["peak_bytes"]
    readme = " ".join((CHECKOUT / "README.md").read_text(encoding="utf-8").split())
    assert f"it needs {macs:.0%} more MACs, and on a GPU {more[0]:.0%} (fp32) to" in readme
    assert f"{more[1]:.0%} (bf16) more time and {memory:.1f} times the memory:" in readme


def test_table_3_stands_in_readme_as_the_tool_prints_it():
    written = body(CHECKOUT / "results/tables/pnl2020/table3.md")
    # what is printed are the counts; the file goes on with a table for each GPU
    counts, *_ = written.split("\n\n**Table 3 on ", 1)
    assert counts == between("table 3: as printed by `vidcost tables 3`", "end of table 3")


def test_every_gpu_stands_in_readme_as_the_tool_writes_it():
    files = sorted((CHECKOUT / "results/tables/pnl2020").glob("gpu-*.md"))
    expected = "\n\n".join(map(body, files)) or NO_GPU
    shown = between(
        "gpus: as written by `vidcost tables` to results/tables/pnl2020/gpu-*.md", "end of gpus"
    )
    assert expected == shown, "stale: put what `vidcost tables` wrote between the comments"


def test_the_comparison_stands_in_readme_as_the_tool_prints_it(vidcost, in_this_process):
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    block = readme.split("# my_block.py\n", 1)[1].split("```", 1)[0]
    Path("my_block.py").write_text(block, encoding="utf-8")
    (command,) = re.findall(r"^\$ vidcost (compare .*my_block.*)$", readme, re.MULTILINE)
    ran = vidcost(*shlex.split(command), "--budget", "0s")
    assert (0, "") == (ran.status, ran.err)
    shown = readme.split("<!-- compare: as printed by the command above with --budget 0s -->\n", 1)[
        1
    ]
    assert ran.out.strip() == shown.split("<!-- end of compare -->", 1)[0].strip()


def test_every_number_of_what_is_left_out_is_printed_by_the_command_beside_it(
    vidcost, reference_counters
):
    page = (CHECKOUT / "docs/counting.md").read_text(encoding="utf-8")
    section = page.split("## What the published FLOPs leave out\n", 1)[1].split("\n## ", 1)[0]
    commands = re.findall(r"^\$ vidcost (.*)$", section, re.MULTILINE)
    assert 3 == len(commands)
    ran = [vidcost(*shlex.split(command)) for command in commands]
    assert {0} == {status for status, _, _ in ran}
    printed = set().union(*(numbers(out) for _, out, _ in ran))
    claimed = numbers(section)
    assert len(claimed) > 20
    assert set() == claimed - printed


def numbers(text: str) -> set[str]:
    """Integers of at least four digits and figures in G, without their signs."""
    return set(re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d+G", text))
