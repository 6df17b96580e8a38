"""Every public function of torch's namespaces counts as docs/operators.md says."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conformance.operators import Calls

from vidcost.bench.count.counter import UncountedOperator, count

PAGE = (Path(__file__).parents[3] / "docs/operators.md").read_text()
SPACES = {space: eval(space) for space in re.findall(r"^## (torch\S*)", PAGE, re.MULTILINE)}


def stated(space):
    """(function, call, class, MACs) of each function in the page's table."""
    table = PAGE.split(f"## {space}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| `(.+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)
    for names, call, kind, macs in rows:
        for name in names.split():
            yield name, call, kind, 0 if macs == "–" else eval(macs)


def public(space):
    """The functions of a namespace, but for those that serve torch itself."""
    own = ("torch.overrides", "torch._jit_internal", "typing")
    for name, each in vars(SPACES[space]).items():
        home = getattr(each, "__module__", None) or ""
        if not callable(each) or inspect.isclass(each) or home.startswith(own):
            continue
        if not name.startswith(("_", "has_torch_function", "assert_")):
            yield name


@pytest.fixture(scope="module")
def given():
    """What the calls name."""
    named = {}
    exec(PAGE.split("```text\n")[1].split("```")[0], named)
    tensors = {name: torch.full(shape, 0.5) for name, shape in named["shapes"].items()}
    tensors |= {name: torch.tensor(named[name]) for name in ("i", "j", "ends")}
    types = {"j": torch.int32, "ends": torch.int32, "z": torch.complex64, "e": torch.float8_e4m3fn}
    types |= {"a": torch.bfloat16, "g": torch.bfloat16}
    return tensors | {n: tensors[n].to(t) for n, t in types.items()} | {"A": 2 * torch.eye(5)}


def outcome(function, call, given):
    """What a call counts as, and its MACs."""
    one = getattr(getattr(F, "ScalingType", None), "TensorWise", None)
    names = {"f": function, "ONE": one}
    model = Calls(lambda *values: eval(call, names | dict(zip(given, values, strict=True))))
    try:
        found = count(model, *(each.clone() for each in given.values()))
    except UncountedOperator as error:
        says_what_to_do = re.fullmatch(
            r"no counting rule for .*: write vidcost\.rule.*", str(error)
        )
        return "rejected" if says_what_to_do else str(error), 0
    except NotImplementedError:
        return "not tried: needs a GPU", 0
    kinds = list(dict.fromkeys(each.kind for each in found.operations))
    if found.total.macs:
        return "convolution" if "conv" in kinds else "product", found.total.macs
    return " and ".join(kinds) or "free", 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("space", SPACES)
def test_every_function_counts_as_stated(space, given):
    wrong = [
        (name, found, (kind, macs))
        for name, call, kind, macs in stated(space)
        if hasattr(SPACES[space], name)
        and (found := outcome(getattr(SPACES[space], name), call, given)) != (kind, macs)
    ]
    assert [] == wrong


@pytest.mark.skipif("2.13" not in torch.__version__, reason="the page is about another torch")
@pytest.mark.parametrize("space", SPACES)
def test_every_function_is_stated(space):
    assert sorted(public(space)) == sorted(name for name, *_ in stated(space))
