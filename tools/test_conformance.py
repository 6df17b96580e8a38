"""The conformance suite: what is asked, what is wrong, what is written."""

import json
import re
import subprocess
import sys

import pytest
import torch
from conformance import __main__ as program
from conformance import statements
from conformance.operators import CASES, NETWORKS
from conformance.statements import Statement, ask_counters, failures, ours
from typer.testing import CliRunner

from vidcost.bench.count import rules
from vidcost.bench.count.counter import count
from vidcost.bench.count.references import asking
from vidcost.bench.count.references.asking import ALL
from vidcost.bench.isolation import Failed


@pytest.fixture
def operators(monkeypatch, tmp_path):
    """Have counters answer 7 on every operator at once; errors by counter."""
    errors = {}

    def ask(name):
        error = errors.get(name, "")
        answers = {operator.name: "crashed" if error else 7 for operator in CASES}
        return Statement(name, "1.2", answers, {}, error)

    monkeypatch.setattr(statements, "_ask", ask)
    # no optional counter is installed
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return errors


def run(*words):
    done = CliRunner().invoke(program.app, words)
    return done.exit_code, done.stdout, done.stderr


def test_a_rule_that_is_blind_to_groups_or_missing_is_named(monkeypatch):
    def ungrouped(args, out, is_constant):
        # (B, C, ...) x (O, C / groups, ...): each output element takes a filter of all C channels
        x, weight = args[0], args[1]
        entries = weight[0].numel() // weight.shape[1] * x.shape[1]
        return "conv", out.numel() * entries

    right = rules.RULES["convolution"]
    with monkeypatch.context() as patched:
        patched.setitem(
            rules.RULES,
            "convolution",
            lambda args, *rest: (right if args[6] else ungrouped)(args, *rest),
        )
        # 2 x 21 x 11 x 13 x 17 out, 15 x 42 entries; 2 x 19 x 11 x 13 x 17 out, 19 x 42 entries
        assert [
            "nn.Conv3d, 3 groups: ours counts 64,324,260, the MACs are 21,441,420",
            "nn.Conv3d, depthwise: ours counts 73,717,644, the MACs are 3,879,876",
            "MFNet: ours counts 114,439,968,768, the MACs are 11,045,296,128",
        ] == failures((ours(),))
    monkeypatch.delitem(rules.RULES, "baddbmm")
    said = "torch.baddbmm: ours raises UncountedOperator, the MACs are 210"
    assert [said] == failures((ours(),))


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (Failed("exited", "exit status 1: TypeError: no"), "crashed"),
        (Failed("timed out", "not done within 120 s"), "timed out"),
    ],
)
def test_a_counter_that_fails_has_a_status_on_every_operator(failed, status, monkeypatch):
    def isolated(*args):
        raise failed

    monkeypatch.setattr(statements, "isolated", isolated)
    statement = statements._ask("thop")
    assert {operator.name: status for operator in CASES} == statement.figures
    assert [f"thop could not be asked: {failed}"] == failures((statement,))


def test_a_counter_that_raises_is_a_status_and_only_ours_must_be_right(operators):
    said = ask_counters()
    assert ["ours", "fvcore", "thop", "thop-2020", "torch"] == [each.counter for each in said]
    assert [] == failures(said)


def test_a_counter_says_by_which_terms_it_arrives_at_its_figures(monkeypatch):
    names = "nn.Conv3d", "2-D @ vector", "nn.BatchNorm1d"
    few = [operator for operator in CASES if operator.name in names]
    monkeypatch.setattr(statements, "CASES", few)
    monkeypatch.setattr(statements, "isolated", lambda limit_s, function, name: function(name))
    torchs = statements._ask("torch")
    assert {"nn.Conv3d": 3_063_060, "2-D @ vector": 0, "nn.BatchNorm1d": 0} == torchs.figures
    assert {"nn.Conv3d": "", "2-D @ vector": "mv unseen", "nn.BatchNorm1d": ""} == torchs.terms
    # fvcore cannot do with a vector
    assert "raises IndexError" == statements._ask("fvcore").figures["2-D @ vector"]
    monkeypatch.setattr(asking, "fault_of", lambda reference: "fvcore is not installed")
    missing = statements._ask("fvcore")
    assert "fvcore is not installed" == missing.error
    assert {"missing"} == set(missing.figures.values())


def test_whole_networks_have_the_figures_that_other_counters_print():
    (network,) = (each for each in NETWORKS if "VideoMAE" in each.name)
    with torch.device("meta"):
        model, inputs = network.network(), network.inputs()
    found = count(model, *inputs)
    printed = {name: each.explain(model, found)["flops"].total for name, each in ALL.items()}
    # the integers that these print of transformers' own VideoMAEModel
    assert 20_115_357_696 == network.macs == found.total.macs
    assert 20_144_259_072 == printed["ultralytics-thop"]
    assert 20_115_357_696 == printed["deepspeed"]
    assert 20_122_583_040 == printed["torchprofile"]
    assert 8_822_446_080 == printed["ptflops"]
    assert 8_786_018_304 == printed["calflops"]
    assert 8_822_145_024 == printed["fvcore"]
    assert 468_059_136 == printed["torchinfo"]


def test_the_program_writes_what_it_prints(operators, tmp_path):
    status, out, err = run("--results", "here", "--wide")
    assert (0, "") == (status, err)
    head, title, body = (tmp_path / "here/conformance.md").read_text().split("\n\n", 2)
    assert ("<!-- written by: python tools/conformance -->", "# Conf") == (head, title[:6])
    # with shorter lines
    assert out.split() == body.split()


def test_the_program_fails_by_the_name_of_what_ours_gets_wrong(operators, monkeypatch):
    monkeypatch.setitem(rules.RULES, "baddbmm", lambda *_: ("matmul", 0))
    status, out, err = run()
    assert 1 == status
    assert "vidcost: torch.baddbmm: ours counts 0, the MACs are 210\n" == err
    assert re.search(r"\| ours +\| 0\.1\.0 ", out)


def test_the_program_without_a_reference_counter_prints_the_rest(operators, tmp_path):
    operators["thop"] = "exit status 1: boom"
    status, out, err = run("--format", "json")
    assert (1, "vidcost: thop could not be asked: exit status 1: boom\n") == (status, err)
    line = json.loads(out)[0]
    assert ("crashed", 7) == (line["thop"], line["fvcore"])
    assert "not asked" in (tmp_path / "results/conformance.md").read_text()


def test_a_folder_that_cannot_be_written_is_rejected_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file")
    command = [sys.executable, program.__file__, "--results", "file/below"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith("vidcost: cannot write results to file/below: ")
