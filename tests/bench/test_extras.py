import pytest

from vidcost.bench import extras


@pytest.mark.parametrize("extra", ["report", "query", "reference"])
def test_an_installed_extra_passes(extra):
    extras.require(extra)


def test_a_missing_extra_is_named_with_its_packages(monkeypatch):
    monkeypatch.setattr(
        extras, "EXTRAS", {"one": ("json", "nowhere"), "two": ("nowhere", "neither")}
    )
    with pytest.raises(
        ValueError, match=r"needs nowhere: `pip install 'vidcost\[one\]'` installs it"
    ):
        extras.require("one")
    with pytest.raises(ValueError, match=r"needs nowhere and neither: .* installs them"):
        extras.require("two")
