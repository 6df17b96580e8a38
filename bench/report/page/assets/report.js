"use strict";
/* Draws the plots, and sorts and filters the tables. Raw values are in data-value. */
(() => {
  const UNITS = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
  const LIMITS = {
    "<": (x, y) => x < y, "<=": (x, y) => x <= y, "=": (x, y) => x === y,
    ">": (x, y) => x > y, ">=": (x, y) => x >= y,
  };
  const text = (cell) => cell.textContent.trim().toLowerCase();
  const collator = new Intl.Collator("en", { numeric: true });

  /* Missing values come last in both directions, and numbers before text. */
  function compare(a, b, direction) {
    const rank = (cell) => (text(cell) === "–" ? 2 : "value" in cell.dataset ? 0 : 1);
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    if (rank(a) === 0) return direction * (a.dataset.value - b.dataset.value);
    return direction * collator.compare(text(a), text(b));
  }

  /* ">11.2G", "<= 5" or "=3" is a limit on a number; other words are searched in the text. */
  function condition(query) {
    const limit = query.replaceAll(",", "").trim().match(/^([<>]=?|=)\s*(-?[\d.]+)\s*([kmgt]?)$/i);
    if (limit) {
      const value = parseFloat(limit[2]) * (UNITS[limit[3].toLowerCase()] ?? 1);
      return (cell) => "value" in cell.dataset && LIMITS[limit[1]](Number(cell.dataset.value), value);
    }
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    return (cell) => words.every((word) => text(cell).includes(word));
  }

  function setUp(root) {
    const body = root.querySelector("tbody");
    const rows = [...body.rows];
    const headings = [...root.querySelectorAll("thead [aria-sort]")];
    const search = root.querySelector("[data-filter]");
    const columns = root.querySelector("[data-columns]");
    const limits = [...root.querySelectorAll(".filters input")];

    headings.forEach((heading, column) => heading.firstChild.addEventListener("click", () => {
      const direction = heading.ariaSort === "ascending" ? -1 : 1;
      headings.forEach((each) => { each.ariaSort = "none"; });
      heading.ariaSort = direction > 0 ? "ascending" : "descending";
      body.append(...rows.toSorted((a, b) => compare(a.cells[column], b.cells[column], direction)));
    }));

    function filter() {
      const whole = condition(search.value.replace(/^[<>=]/, ""));
      const byColumn = columns.checked ? limits.map((input) => condition(input.value)) : [];
      for (const row of rows) {
        row.hidden = !(whole(row) && byColumn.every((holds, column) => holds(row.cells[column])));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      root.querySelector("[data-count]").textContent =
        (shown === rows.length ? "" : `${shown} of `) + `${rows.length} lines`;
    }
    [search, columns, ...limits].forEach((input) => input.addEventListener("input", filter));
    root.addEventListener("vidcost:show-all", () => {
      [search, ...limits].forEach((input) => { input.value = ""; });
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
  const plots = [...document.querySelectorAll("[data-plot]")].map((drawing) => {
    const spec = JSON.parse(drawing.previousElementSibling.textContent);
    const downloadFileName = drawing.dataset.plot;
    return vegaEmbed(drawing, spec, { mode: "vega", renderer: "svg", actions, downloadFileName });
  });
  Promise.all(plots).then(() => {
    document.documentElement.dataset.ready = "yes";
  });
})();
