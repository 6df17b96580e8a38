"""Audits of published tables and the atlas, on a source of two small networks."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from vidcost.atlas import audit as published
from vidcost.atlas import packages, prints
from vidcost.atlas.audit import Convention, Counts, Quantities
from vidcost.atlas.memory import peak_bytes
from vidcost.atlas.networks import Network, front, networks_of, shared
from vidcost.atlas.report import audit_markdown
from vidcost.bench.audit import Verdict
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.papers import catalog
from vidcost.papers import source as sources
from vidcost.papers.row import Row
from vidcost.papers.source import Source

# of 1x3x4x8x8: one convolution of 1x1x1 to 5 channels and BatchNorm: 15 MACs and 5 elements at each
# of 256 places; parameters 15 + 10 + 6 per class, with 5 MACs per class
PLACES = 4 * 8 * 8
MACS, NORM = 15 * PLACES + 5 * 100, 5 * PLACES


def tiny(name, *, classes, frames, size):
    """A network for tests; "attends" has a product of activations too."""
    stem = [nn.Conv3d(3, 5, 1, bias=False), nn.BatchNorm3d(5)]
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, classes)]
    return nn.Sequential(*stem, *[Square()] * (name == "attends"), *head)


def row_at(network, classes, clip):
    if network == "gone":
        raise ValueError("needs gone: pip install gone")
    return Row(network, partial(tiny, network), classes, ((3, *clip),))


class Square(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return x * (flat @ flat.mT).sum()


def row(network, params, flops, *prints, clip="4x8x8", at=""):
    return (network, clip, at, params, flops, *prints)


@pytest.fixture
def source(monkeypatch):
    """Makes a source called "made" of rows."""
    monkeypatch.setattr(published, "row_at", row_at)

    def make(*rows, **more):
        classes = {"A": 100, "B": 10}
        made = Source(name="made", source="s", read="now", states="-", classes=classes, rows=rows)
        made = made.model_copy(update={"units": ("", ""), **more})
        monkeypatch.setattr(published, "source", lambda name: made)
        return made

    return make


def audited(source, *rows, **more):
    source(*rows, **more)
    return published.audit("made", Counts())


def test_one_convention_is_chosen_for_a_source_and_what_it_does_not_give_is_by_another(source):
    twice = str(MACS + 2 * NORM)
    audit = audited(
        source,
        row("plain", "625", twice, "A|T1|one|3x10|70.0"),
        row("plain", "625", twice, "A|T1|two||71.0", clip="4x8x8", at="4x8x8"),
        row("plain", "625", str(2 * MACS), "A|T2|other||"),
    )
    assert audit.convention.name == "MACs, 2 per BatchNorm element"
    assert (audit.met, audit.possible) == (2, 3)
    assert audit.tried == 200
    assert [str(each.verdict) for each in audit.judged] == ["exact"] * 6
    assert audit.judged[-1].by == "2 x MACs"


def test_a_further_term_must_give_two_figures_more(source):
    audit = audited(
        source,
        row("plain", "625", str(MACS), "A|T|one||"),
        row("plain", "85", str(MACS - 450 + 2 * NORM), "B|T|two||"),
    )
    assert audit.convention.name == "MACs"


def test_figures_over_all_views_are_a_convention(source):
    audit = audited(
        source,
        row("plain", "625", str(30 * MACS), "A|T|one|10 clips x 3 crops|"),
        row("plain", "85", str(4 * (MACS - 450)), "B|T|two|1x4|"),
    )
    assert audit.convention.name == "MACs, over all views"
    assert audit.met == 2


def test_a_convention_of_a_source_needs_no_code(source):
    rows = [row("plain", "625", str(MACS + 7 * NORM), f"A|T|{n}||") for n in range(4)]
    own = {"seven": {"macs": 1, "batch_norm": 7}}
    assert audited(source, *rows, conventions=own).convention.name == "seven"
    assert audited(source, *rows).met == 0


@pytest.mark.parametrize(
    ("params", "flops", "says"),
    [
        ("85", str(MACS), "10 classes give 85"),
        ("625", str(15 * 4 * 14 * 14 + 500), ""),
        ("625", str(15 * 4 * 112 * 112 + 500), "112x112 gives 753,140"),
    ],
)
def test_what_fits_other_classes_or_another_size_is_said(source, params, flops, says):
    audit = audited(
        source,
        row("plain", params, flops, "A|T|one||", clip="4x96x96"),
        row("plain", "85", str(15 * 4 * 96 * 96 + 50), "B|T|two||", clip="4x96x96"),
    )
    first = [each for each in audit.judged if each.row.label == "one"]
    assert says in [each.otherwise for each in first]
    assert Verdict.NOT_REPRODUCED in [each.verdict for each in first]


def test_figures_of_another_network_of_the_source_are_found(source):
    attention = 5 * 5 * PLACES
    both = ("625", str(MACS + attention))
    audit = audited(
        source,
        row("plain", "77", str(MACS - 450 + attention), "B|T|copied||"),
        row("attends", *both, "A|T|original||"),
        row("plain", *both, "B|T|copy||"),
    )
    copy = [each for each in audit.judged if each.row.label == "copy"]
    assert {each.otherwise for each in copy} == {"both figures are those of original"}
    assert {each.verdict for each in copy} == {Verdict.NOT_REPRODUCED}


def test_a_figure_may_be_cut_off_close_a_bound_or_of_no_network(source):
    units = {"units": ("", "M")}
    audit = audited(
        source,
        row("plain", "630", "0.0043", "A|T|one||"),
        row("plain", "625", ">0.001", "A|T|two||"),
        row("gone", "625", "4340", "A|T|three||"),
        **units,
    )
    by = {(each.row.label, each.kind): each for each in audit.judged}
    assert by["one", "params"].verdict is Verdict.CLOSE
    assert by["one", "flops"].verdict is Verdict.EXACT
    assert by["two", "flops"].verdict is Verdict.BOUND_HOLDS
    assert by["three", "flops"].verdict is None
    assert audit.missing == {"gone": "needs gone: pip install gone"}


def test_the_peak_is_of_what_is_alive_at_once():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5))
        x = torch.empty(2, 3)
    # the input, 2x7 before ReLU and after
    assert peak_bytes(model, x) == 4 * (6 + 14 + 14)
    # in place: a view and the same memory add nothing
    model[1] = nn.ReLU(inplace=True)
    assert peak_bytes(model, x) == 4 * (6 + 14 + 10)


def test_the_atlas_has_each_network_once_and_its_best_row(source):
    made = source(
        row("plain", "625", "4", "A|T|twice|3x10|70.5", "A|U|twice|1x4|71.5"),
        row("also", "", "5", "A|T|another||60.0"),
        row("attends", "", "", "A|T|dear|1x4|71.0", "B|T|dear|1x2|9.0"),
    )
    counts = Counts(peaks=True)
    found = networks_of(counts, [*made.prints()])
    first, dear, _ = found
    assert (first.label, first.best.top1, first.per_video) == ("twice", 71.5, 4 * MACS)
    assert first.printed == (("made", "4"), ("made", "5"))
    assert first.counted.peak_bytes > 0
    assert [each.label for each in front([first, dear])] == ["twice"]


def test_networks_that_sources_print_differently_are_shared(source):
    one = source(row("plain", "", "4", "A|T|one||"), row("attends", "", "9", "A|T|alone||"))
    two = one.model_copy(update={"name": "two", "rows": (row("plain", "", "5", "A|T|eins||"),)})
    (found,) = shared(Counts(), [*one.prints(), *two.prints()])
    assert found.printed == (("made", "4"), ("two", "5"))
    two = one.model_copy(update={"name": "two", "rows": (row("plain", "", "4.0", "A|T|eins||"),)})
    assert shared(Counts(), [*one.prints(), *two.prints()]) == []


def test_every_source_reads_and_names_networks_of_known_packages():
    found = [each for name in sources.files() for each in sources.source(name).prints()]
    assert sum(bool(each.params) + bool(each.flops) for each in found) >= 600
    assert len(sources.files()) >= 16
    references = {each.network for each in found}
    of_packages = {each for each in references if "/" in each}
    of = {packages.named().get(each, {"of": each})["of"].partition("/")[0] for each in of_packages}
    assert of <= {*packages.PACKAGES}
    assert {*packages.named()} <= of_packages, "no alias that no row uses"
    some = [prints.row_at(each.network, each.classes, each.at) for each in found[::40]]
    assert [each.inputs for each in some] == [((3, *each.at),) for each in found[::40]]
    for each in references - of_packages:
        catalog.select([each])


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("rows = 3", "rows: Input should be a valid tuple"),
        ('rows = [["plain", "4x8", "", "", "", "A|T|one||"]]', "plain at 4x8: not enough values"),
        ('rows = [["plain", "4x8x8", "", "many", "", "A|T|one||"]]', "'many' is no figure"),
        ('rows = [["plain", "4x8x8", "", "", "", "C|T|one||"]]', "'C'"),
        ("rows = [[", "is damaged"),
    ],
)
def test_a_damaged_source_is_named_in_one_line(tmp_path, monkeypatch, broken, says):
    path = tmp_path / "made.toml"
    head = {"source": "s", "read": "now", "states": "-"}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in head.items())
    path.write_text(f"{text}classes = {{ A = 100 }}\n{broken}\n")
    monkeypatch.setattr(sources, "files", lambda: {"made": path})
    sources.source.cache_clear()
    with pytest.raises(ValueError, match="made") as error:
        [*sources.source("made").prints()]
    sources.source.cache_clear()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_of_no_package_or_of_one_that_is_missing_is_named(monkeypatch):
    with pytest.raises(ValueError, match="near: torchvision/swin3d_t"):
        catalog.select(["torchvision/swin3d_tt"])
    monkeypatch.setitem(packages.PACKAGES, "torchvision", lambda *options: __import__("nowhere"))
    (row,) = catalog.select(["torchvision/swin3d_t"])
    with pytest.raises(ValueError, match=r"needs torchvision \(.*'nowhere'.*pip install"):
        row.model()


def test_rows_of_a_paper_are_printed_under_their_names():
    found = {each.network: each for each in prints.prints("pnl2020")}
    best = found["mfnet-pnl-x5"]
    assert (best.dataset, best.classes, best.clip) == ("Mini-Kinetics", 200, (16, 224, 224))
    assert (best.top1, best.flops.printed, best.view_count) == (83.09, "11.38G", None)
    assert "2plus-c1-d" not in found
    assert "pnl2020" in prints.printing()
    assert "example" not in prints.printing(), "its tables name no dataset"


def test_weights_of_a_convention_are_summed_over_views():
    counted = Quantities(1, 100, 30, 7, 11, 0)
    convention = Convention("x", {"macs": 2, "attention": -2, "batch_norm": 5}, over_views=True)
    assert convention.of(counted, 4) == 4 * (200 - 60 + 35)
    assert convention.of(counted, None) is None


def test_a_network_without_views_has_no_price_of_a_video(source):
    (print_,) = source(row("plain", "", "", "A|T|one||50.0")).prints()
    each = Network((4, 8, 8), Quantities(1, 100, 0, 0, 0, 0), (print_,))
    assert each.per_video is None
    assert front([each]) == []


# sources whose networks the extra foreign brings too
FEW = ("pytorchvideo", "slowfast_paper", "torchvision", "video_swin", "vivit_paper", "xclip")


@pytest.mark.foreign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW else [pytest.mark.zoo])
        for name in sources.files()
    ],
)
def test_the_audit_of_a_source_is_as_committed(name):
    committed = Path("results/audits", f"{name}.md").read_text(encoding="utf-8")
    assert audit_markdown(published.audit(name, Counts())) in committed


# what mmaction2's own networks count at 256x256, whose blocks sub-sample keys and values
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("slowonly-r50-8f", 32_454_096, 54_518_382_592),
        ("slowonly-r50-4f-nl-embedded-gaussian", 39_808_464 + 4096, 43_097_292_800),
        ("slowonly-r50-8f-nl-embedded-gaussian", 39_808_464 + 4096, 96_394_313_728),
        ("slowonly-r50-8f-nl-dot-product", 39_808_464 + 4096, 96_394_313_728),
    ],
)
def test_slow_only_with_non_local_blocks_counts_as_mmaction2_does(name, params, macs):
    model, clips = on_meta(catalog.select([name])[0])
    counted = count(model, *clips)
    assert (counted.params, counted.total.macs) == (params, macs)
