"use strict";
/* Sorts and filters the page's tables. Raw values are in data-value; without one, text counts. */
(() => {
  const UNITS = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
  const text = (cell) => cell.textContent.trim().toLowerCase();
  const isMissing = (cell) => cell.textContent.trim() === "–";
  const collator = new Intl.Collator("en", { numeric: true });

  function compare(a, b, direction) {
    // what is missing comes last, whichever way
    const missing = isMissing(a) - isMissing(b);
    if (missing) return missing;
    const [x, y] = [a.dataset.value, b.dataset.value];
    if (x !== undefined && y !== undefined) return direction * (x - y);
    if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
    return direction * collator.compare(text(a), text(b));
  }

  /* ">11.2G", "<= 5", "=3" and "10..20" of a number; else the words are looked for in the text. */
  function condition(query) {
    const number = (match) => parseFloat(match[1]) * (UNITS[(match[2] || "").toLowerCase()] || 1);
    const digits = "(-?[\\d.]+)\\s*([kmgt]?)";
    const bare = query.replaceAll(",", "").trim();
    const range = bare.match(new RegExp(`^${digits}\\.\\.${digits}$`, "i"));
    if (range) {
      const [low, high] = [number(range), number(range.slice(2))];
      return (cell) => "value" in cell.dataset && cell.dataset.value >= low && cell.dataset.value <= high;
    }
    const limit = bare.match(new RegExp(`^([<>]=?|=)\\s*${digits}$`, "i"));
    if (limit) {
      const value = number(limit.slice(1));
      const holds = {
        "<": (x) => x < value, "<=": (x) => x <= value, "=": (x) => x === value,
        ">": (x) => x > value, ">=": (x) => x >= value,
      }[limit[1]];
      return (cell) => "value" in cell.dataset && holds(Number(cell.dataset.value));
    }
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    return (cell) => words.every((word) => text(cell).includes(word));
  }

  function setUp(root) {
    const body = root.querySelector("tbody");
    const rows = [...body.rows];
    const headings = [...root.querySelectorAll("thead th")];
    const search = root.querySelector("[data-filter]");
    const filters = [...root.querySelectorAll(".filters input")];
    const count = root.querySelector("[data-count]");

    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.ariaSort === "ascending" ? -1 : 1;
      headings.forEach((each) => { each.ariaSort = "none"; });
      heading.ariaSort = direction > 0 ? "ascending" : "descending";
      const sorted = [...rows].sort((a, b) => compare(a.cells[column], b.cells[column], direction));
      body.append(...sorted);
    }));

    function filter() {
      const whole = condition(search.value.replace(/^[<>=]/, ""));
      const byColumn = filters.map((input) => input.value.trim() && condition(input.value));
      let shown = 0;
      for (const row of rows) {
        const hit = whole(row) && byColumn.every((holds, column) => !holds || holds(row.cells[column]));
        row.hidden = !hit;
        shown += hit;
      }
      const some = shown === rows.length ? "" : `${shown} of `;
      count.textContent = `${some}${rows.length} ${rows.length === 1 ? "line" : "lines"}`;
    }
    [search, ...filters].forEach((input) => input.addEventListener("input", filter));
    filter();

    root.querySelector("[data-columns]").addEventListener("click", (event) => {
      const row = root.querySelector(".filters");
      row.hidden = !row.hidden;
      event.target.ariaExpanded = String(!row.hidden);
      if (row.hidden) {
        filters.forEach((input) => { input.value = ""; });
        filter();
      }
    });
    root.addEventListener("vidcost:show-all", () => {
      [search, ...filters].forEach((input) => { input.value = ""; });
      filter();
    });
  }

  /* A link leads to a line also where a filter hides it, or it is folded away. */
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const table = target.closest("[data-table]");
    if (target.hidden) table.dispatchEvent(new Event("vidcost:show-all"));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
  }

  document.querySelectorAll("[data-table]").forEach(setUp);
  window.addEventListener("hashchange", reveal);
  reveal();
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details.notes").forEach((each) => { each.open = true; });
  });
})();
