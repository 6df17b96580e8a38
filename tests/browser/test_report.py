"""What a reader does with the report."""

from pathlib import Path

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

HOSTILE = "<script>document.title='run'</script>"
PATIENCE_S = 30
"""Other tests may take both cores."""


def column(browser, table, number):
    """The shown cells of a column from the top down."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter((row) => !row.hidden).map((row) => row.cells[arguments[1]].innerText.trim())",
        table,
        number,
    )


def heading(browser, table, words):
    (found,) = [
        each
        for each in browser.find_elements(By.CSS_SELECTOR, f"#{table} thead button")
        if each.text.strip() == words
    ]
    return found


def choose(browser, plot, control, value):
    figure = browser.find_element(By.ID, f"plot-{plot}")
    select = figure.find_element(By.CSS_SELECTOR, f"select[data-control={control}]")
    Select(select).select_by_value(value)
    WebDriverWait(browser, PATIENCE_S).until(
        lambda _: value in (figure.get_attribute("data-drawn") or "").split()
    )
    return figure


def texts(figure):
    return [each.get_attribute("textContent") for each in figure.find_elements(By.TAG_NAME, "text")]


def luminance(browser, selector, what):
    """0 for black, 1 for white."""
    color = browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        what,
    )
    red, green, blue = (float(x) for x in color[color.index("(") + 1 : -1].split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


# --- tables


def test_a_heading_sorts_by_raw_values_and_says_so(opened):
    button = heading(opened, "table-5", "MACs")
    place = opened.execute_script("return arguments[0].closest('th').cellIndex", button)
    cell = button.find_element(By.XPATH, "..")
    assert "none" == cell.get_attribute("aria-sort")
    button.click()
    assert "ascending" == cell.get_attribute("aria-sort")
    macs = column(opened, "table-5", place)
    # as text 11.045G would come before 9.384G; what is missing is last
    assert ["9.384G", "9.567G", "11.045G"] == macs[:3]
    assert macs[-1].startswith("–")
    button.click()
    assert "descending" == cell.get_attribute("aria-sort")
    assert column(opened, "table-5", place)[0].startswith("213.492G")
    assert column(opened, "table-5", place)[-1].startswith("–")


def test_the_keyboard_sorts_and_the_focus_is_seen(opened):
    button = heading(opened, "table-6", "Params")
    opened.execute_script("arguments[0].focus({focusVisible: true})", button)
    button.send_keys(Keys.ENTER)
    assert "ascending" == button.find_element(By.XPATH, "..").get_attribute("aria-sort")
    assert "R-50" == column(opened, "table-6", 0)[0]
    button.send_keys(Keys.SHIFT + Keys.TAB)
    style = opened.execute_script(
        "const style = getComputedStyle(document.activeElement);"
        "return [document.activeElement.tagName, style.outlineStyle, style.outlineWidth]"
    )
    assert ["BUTTON", "solid", "2px"] == style


def test_words_filter_and_the_count_says_how_many(opened):
    table = opened.find_element(By.ID, "table-5")
    search = table.find_element(By.CSS_SELECTOR, "[data-filter]")
    search.send_keys("mfnet pnl")
    assert ["MFNet-PNL(×1)", "MFNet-PNL(×5)"] == column(opened, "table-5", 0)
    assert "2 of 14 lines" == table.find_element(By.CSS_SELECTOR, "[data-count]").text
    search.clear()
    search.send_keys("nothing has this")
    assert [] == column(opened, "table-5", 0)


def test_a_column_is_filtered_by_a_limit_on_its_numbers(opened):
    table = opened.find_element(By.ID, "table-5")
    table.find_element(By.CSS_SELECTOR, "[data-columns]").click()
    place = opened.execute_script(
        "return arguments[0].closest('th').cellIndex", heading(opened, "table-5", "MACs")
    )
    limit = table.find_elements(By.CSS_SELECTOR, ".filters input")[place]
    limit.send_keys("> 70G")
    assert {"I3D (TS) [46]", "I3D (RGB) [46]", "S3D [17]"} == set(column(opened, "table-5", 0))
    limit.clear()
    limit.send_keys("9.3G..9.6G")
    assert 2 == len(column(opened, "table-5", 0))
    table.find_element(By.CSS_SELECTOR, "[data-columns]").click()
    assert 14 == len(column(opened, "table-5", 0))


def test_a_link_leads_to_its_row_even_where_a_filter_hides_it(opened):
    search = opened.find_element(By.CSS_SELECTOR, "#row [data-filter]")
    search.send_keys("c3d")
    link = opened.find_element(By.LINK_TEXT, "MFNet-NL [26]")
    # the navigation stands over the top of the page
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    target = opened.find_element(By.CSS_SELECTOR, ":target")
    assert "row-mfnet-nl" == target.get_attribute("id")
    WebDriverWait(opened, PATIENCE_S).until(lambda _: target.is_displayed())
    WebDriverWait(opened, PATIENCE_S).until(
        lambda b: b.execute_script(
            "const box = arguments[0].getBoundingClientRect();"
            "return box.top >= 0 && box.bottom <= innerHeight",
            target,
        )
    )


def test_a_note_that_is_folded_away_opens(opened):
    note = opened.find_element(By.CSS_SELECTOR, "#table-6 sup a")
    opened.execute_script("arguments[0].click()", note)
    target = opened.find_element(By.CSS_SELECTOR, ":target")
    WebDriverWait(opened, PATIENCE_S).until(lambda _: target.is_displayed())
    assert target.get_attribute("id").startswith("table-6-note-")


# --- plots


def test_every_plot_is_drawn(opened):
    figures = opened.find_elements(By.CSS_SELECTOR, "[data-plot]")
    assert 6 == len(figures)
    for figure in figures:
        shapes = figure.find_elements(By.CSS_SELECTOR, ".drawing svg path, .drawing svg line")
        assert len(shapes) > 10, figure.get_attribute("id")


def test_the_scatter_changes_its_axis(opened):
    figure = opened.find_element(By.ID, "plot-accuracy")
    assert "MACs, billions (log scale)" in texts(figure)
    choose(opened, "accuracy", "axis", "params")
    assert "Parameters, millions (log scale)" in texts(figure)
    choose(opened, "accuracy", "set", "table-6")
    assert "R-50 + PNL(×1)" in texts(figure)
    assert "MFNet-NL" not in texts(figure)


def test_a_timed_axis_has_the_rows_that_were_timed(opened):
    figure = opened.find_element(By.ID, "plot-accuracy")
    select = Select(figure.find_element(By.CSS_SELECTOR, "select[data-control=axis]"))
    select.select_by_visible_text("Latency, ms (Abacus)")
    WebDriverWait(opened, PATIENCE_S).until(
        lambda _: "latency@Abacus" in figure.get_attribute("data-drawn")
    )
    points = figure.find_elements(By.CSS_SELECTOR, ".points_marks path")
    assert 2 == len(points)


def test_an_axis_without_data_says_so(opened):
    figure = choose(opened, "accuracy", "axis", "energy@Abacus")
    said = figure.find_element(By.CSS_SELECTOR, ".said")
    assert said.is_displayed()
    assert "only a GPU reports its energy" in said.text
    assert not figure.find_element(By.CSS_SELECTOR, ".drawing").is_displayed()
    choose(opened, "accuracy", "axis", "macs")
    assert not said.is_displayed()
    assert figure.find_element(By.CSS_SELECTOR, ".drawing svg").size["width"] > 600


def test_the_ledger_shows_the_chosen_row_and_counter(opened):
    choose(opened, "ledger", "row", "mfnet-nl")
    figure = choose(opened, "ledger", "counter", "fvcore")
    # README's and the paper's row: 12,451,829,760 MACs and 2 per BatchNorm element
    assert {"12,451,829,760", "+132,263,936", "12,584,093,696"} <= set(texts(figure))


def test_a_point_leads_to_its_row(opened):
    point = opened.find_element(
        By.CSS_SELECTOR, "#plot-accuracy .points_marks path[aria-label*='mfnet-nl']"
    )
    opened.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point
    )
    ActionChains(opened).move_to_element(point).click().perform()
    WebDriverWait(opened, PATIENCE_S).until(lambda b: b.current_url.endswith("#row-mfnet-nl"))


# --- the page


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(opened, set_view, wait_drawn, system):
    set_view(opened, 1280, theme=system)
    is_dark = system == "dark"
    assert is_dark == (luminance(opened, "body", "backgroundColor") < 0.5)
    text = "#plot-accuracy .role-axis-title text"
    assert is_dark == (luminance(opened, text, "fill") > 0.5)
    button = opened.find_element(By.ID, "theme")
    assert str(is_dark).lower() == button.get_attribute("aria-pressed")
    button.click()
    assert is_dark == (luminance(opened, "body", "backgroundColor") > 0.5)
    opened.refresh()
    wait_drawn(opened)
    assert is_dark == (luminance(opened, "body", "backgroundColor") > 0.5)


def test_nothing_overflows_on_a_phone(opened, set_view, wait_drawn):
    set_view(opened, 360)
    opened.refresh()
    wait_drawn(opened)
    for element in opened.find_elements(By.TAG_NAME, "details"):
        opened.execute_script("arguments[0].open = true", element)
    assert 360 == opened.execute_script("return document.documentElement.scrollWidth")
    width = opened.execute_script("return document.querySelector('#table-5 .scroll').scrollWidth")
    assert width > 360


def test_a_page_that_overflows_would_be_seen(opened, set_view):
    set_view(opened, 360)
    opened.execute_script(
        "document.querySelectorAll('.scroll').forEach((x) => { x.style.overflow = 'visible'; })"
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") > 360


def test_a_hostile_name_is_text(opened):
    assert "vidcost: what long-range video blocks cost" == opened.title
    assert HOSTILE in column(opened, "row", 0)
    figure = opened.find_element(By.ID, "plot-latency-abacus")
    # cut off to the room that an axis has, but with its first letters
    assert [each for each in texts(figure) if each.startswith("<script>")]


def test_no_request_leaves_the_page_and_nothing_complains(opened, requests, report: Path):
    for axis in ("params", "flops_printed", "latency@Abacus"):
        choose(opened, "accuracy", "axis", axis)
    opened.find_element(By.ID, "theme").click()
    asked = [url for url in requests(opened) if not url.startswith(("data:", "blob:", "about:"))]
    assert {report.as_uri()} == set(asked)
    assert [] == opened.execute_script(
        "return performance.getEntriesByType('resource').map((each) => each.name)"
        ".filter((name) => !name.startsWith('data:'))"
    )
    assert [] == opened.get_log("browser")


def test_a_request_would_be_seen(opened):
    opened.execute_script("const i = new Image(); i.src = 'https://example.invalid/x.png'")
    (said,) = WebDriverWait(opened, PATIENCE_S).until(lambda b: b.get_log("browser"))
    # the page's own policy refuses it
    assert "Content Security Policy" in said["message"]
