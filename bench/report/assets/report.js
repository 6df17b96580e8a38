"use strict";
/* Draws the plots, and sorts and filters the tables. Raw values are in data-value. */
(() => {
  const text = (cell) => cell.textContent.trim().toLowerCase();
  const collator = new Intl.Collator("en", { numeric: true });

  /* Missing values come last in both directions, and numbers before text. */
  function compare(a, b, direction) {
    const rank = (cell) => (text(cell) === "–" ? 2 : "value" in cell.dataset ? 0 : 1);
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    if (rank(a) === 0) return direction * (a.dataset.value - b.dataset.value);
    return direction * collator.compare(text(a), text(b));
  }

  function setUp(root) {
    const body = root.querySelector("tbody");
    const rows = [...body.rows];
    const headings = [...root.querySelectorAll("thead [aria-sort]")];
    const search = root.querySelector("[data-filter]");
    headings.forEach((heading, column) => heading.firstChild.addEventListener("click", () => {
      const direction = heading.ariaSort === "ascending" ? -1 : 1;
      headings.forEach((each) => { each.ariaSort = "none"; });
      heading.ariaSort = direction > 0 ? "ascending" : "descending";
      body.append(...rows.toSorted((a, b) => compare(a.cells[column], b.cells[column], direction)));
    }));

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const row of rows) row.hidden = !words.every((word) => text(row).includes(word));
      const shown = rows.filter((row) => !row.hidden).length;
      root.querySelector("[data-count]").textContent =
        (shown === rows.length ? "" : `${shown} of `) + `${rows.length} lines`;
    }
    search?.addEventListener("input", filter);
    root.addEventListener("vidcost:show-all", () => {
      search.value = "";
      filter();
    });
  }

  /* A link leads to a line also where a filter hides it, or it is folded away. */
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) target.closest("[data-table]").dispatchEvent(new Event("vidcost:show-all"));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
  }

  document.querySelectorAll("[data-table]").forEach(setUp);
  window.addEventListener("hashchange", reveal);
  reveal();

  const actions = { export: true, source: false, compiled: false, editor: false };
  function draw(drawing) {
    const spec = JSON.parse(drawing.previousElementSibling.textContent);
    const downloadFileName = drawing.dataset.plot;
    return vegaEmbed(drawing, spec, { mode: "vega", renderer: "svg", actions, downloadFileName });
  }

  Promise.all([...document.querySelectorAll("[data-plot]")].map(draw)).then(() => {
    document.documentElement.dataset.ready = "yes";
  });
})();
