"""Audits of published tables and the atlas, on a source of two small networks."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from atlas import audit as published
from atlas import networks
from atlas import published as sources
from atlas.audit import Convention, Counts, Network, Quantities, peak_bytes
from atlas.networks import Built
from atlas.published import Source
from atlas.report import audit_markdown
from atlas.slow_only import SlowOnly50
from torch import nn

from vidcost.bench.audit import Verdict
from vidcost.bench.count.counter import count
from vidcost.models.blocks.non_local import NonLocal

# of 1x3x4x8x8: one convolution of 1x1x1 to 5 channels and BatchNorm: 15 MACs and 5 elements at each
# of 256 places; parameters 15 + 10 + 6 per class, with 5 MACs per class
PLACES = 4 * 8 * 8
MACS, NORM = 15 * PLACES + 5 * 100, 5 * PLACES


def tiny(reference, classes, clip):
    """A network for tests; "attends" has a product of activations too."""
    if reference == "gone":
        raise ValueError("needs gone: pip install gone")
    with torch.device("meta"):
        stem = [nn.Conv3d(3, 5, 1, bias=False), nn.BatchNorm3d(5)]
        head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, classes)]
        model = nn.Sequential(*stem, *[Square()] * (reference == "attends"), *head)
    return Built(model, (1, 3, *clip))


class Square(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return x * (flat @ flat.mT).sum()


def row(network, params, flops, *prints, clip="4x8x8", at=""):
    return (network, clip, at, params, flops, *prints)


@pytest.fixture
def source(monkeypatch):
    """Makes a source called "made" of rows."""
    monkeypatch.setattr(networks, "build", tiny)

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
    source(
        row("plain", "625", "4", "A|T|twice|3x10|70.5", "A|U|twice|1x4|71.5"),
        row("also", "", "5", "A|T|another||60.0"),
        row("attends", "", "", "A|T|dear|1x4|71.0", "B|T|dear|1x2|9.0"),
    )
    counts = Counts(peaks=True)
    found = published.networks_of(counts, ["made"])
    first, dear, _ = found
    assert (first.label, first.best.top1, first.per_video) == ("twice", 71.5, 4 * MACS)
    assert first.printed == (("made", "4"), ("made", "5"))
    assert first.counted.peak_bytes > 0
    assert [each.label for each in published.front([first, dear])] == ["twice"]


def test_networks_that_sources_print_differently_are_shared(source, monkeypatch):
    one = source(row("plain", "", "4", "A|T|one||"), row("attends", "", "9", "A|T|alone||"))
    two = one.model_copy(update={"name": "two", "rows": (row("plain", "", "5", "A|T|eins||"),)})
    monkeypatch.setattr(published, "source", lambda name: two if name == "two" else one)
    (found,) = published.shared(Counts(), ["made", "two"])
    assert found.printed == (("made", "4"), ("two", "5"))
    two = one.model_copy(update={"name": "two", "rows": (row("plain", "", "4.0", "A|T|eins||"),)})
    assert published.shared(Counts(), ["made", "two"]) == []


def test_every_source_reads_and_names_networks_of_known_packages():
    found = [each for name in sources.files() for each in sources.source(name).prints()]
    assert sum(bool(each.params) + bool(each.flops) for each in found) >= 600
    assert len(sources.files()) >= 16
    references = {each.network for each in found}
    of = {networks.named().get(each, {"of": each})["of"].partition(":")[0] for each in references}
    assert of <= {*networks._PACKAGES}
    # no alias that no row uses
    assert {*networks.named()} <= references


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


def test_a_network_of_no_package_or_of_one_that_is_missing_is_named():
    with pytest.raises(ValueError, match="packages are torchvision"):
        networks.build("nowhere:net", 10, (4, 8, 8))
    with pytest.raises(ValueError, match="vidcost has no network"):
        networks.build("vidcost:resnet.Nothing", 10, (8, 64, 64))


def test_weights_of_a_convention_are_summed_over_views():
    counted = Quantities(1, 100, 30, 7, 11, 0)
    convention = Convention("x", {"macs": 2, "attention": -2, "batch_norm": 5}, over_views=True)
    assert convention.of(counted, 4) == 4 * (200 - 60 + 35)
    assert convention.of(counted, None) is None


def test_a_network_without_views_has_no_price_of_a_video(source):
    (print_,) = source(row("plain", "", "", "A|T|one||50.0")).prints()
    each = Network((4, 8, 8), Quantities(1, 100, 0, 0, 0, 0), (print_,))
    assert each.per_video is None
    assert published.front([each]) == []


# sources whose networks the extra foreign brings too
@pytest.mark.foreign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["pytorchvideo", "slowfast_paper", "torchvision", "video_swin", "vivit_paper", "xclip"],
)
def test_the_audit_of_a_source_is_as_committed(name):
    committed = Path("results/audits", f"{name}.md").read_text(encoding="utf-8")
    assert audit_markdown(published.audit(name, Counts())) in committed


# what mmaction2's own networks count at 256x256, whose blocks sub-sample keys and values
@pytest.mark.parametrize(
    ("frames", "pairwise", "macs"),
    [
        (8, None, 54_518_382_592),
        (4, "embedded-gaussian", 43_097_292_800),
        (8, "embedded-gaussian", 96_394_313_728),
        (8, "dot-product", 96_394_313_728),
    ],
)
def test_slow_only_with_non_local_blocks_counts_as_mmaction2_does(frames, pairwise, macs):
    block = partial(NonLocal, pairwise=pairwise, pool_keys=True)
    after = ("res3:after-1", "res3:after-3", "res4:after-1", "res4:after-3", "res4:after-5")
    with torch.device("meta"):
        blocks = dict.fromkeys(after, block) if pairwise else {}
        network = SlowOnly50(classes=400, frames=frames, size=256, blocks=blocks)
        counted = count(network, torch.empty(1, 3, frames, 256, 256))
    assert counted.total.macs == macs
    blocks_params = counted.params - 31_634_496 - 2049 * 400
    assert (blocks_params > 0) == bool(pairwise)
