import re
import shlex
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "results/gpu.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ vidcost (query .*)\n```\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE)


def test_every_question_is_followed_by_its_answer():
    assert PAGE.count("$ vidcost query") == len(SHOWN) > 5


@pytest.mark.parametrize(("command", "table"), SHOWN, ids=range(len(SHOWN)))
def test_an_answer_is_what_the_question_gives(command, table, vidcost):
    shutil.copytree(CHECKOUT / "results", "results")
    ran = vidcost(*shlex.split(command))
    assert (0, "") == (ran.status, ran.err)
    assert ran.out.strip() == table.strip()
