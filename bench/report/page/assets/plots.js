"use strict";
/* Draws the plots, joins them to their controls and rows, and switches the theme. */
(() => {
  function setUp(figure) {
    const name = figure.dataset.plot;
    const { spec, controls, said } = JSON.parse(
      document.querySelector(`script[data-spec="${CSS.escape(name)}"]`).textContent);
    const drawing = figure.querySelector(".drawing");
    const words = figure.querySelector(".said");
    const selects = new Map([...figure.querySelectorAll("select")].map((s) => [s.dataset.control, s]));
    const defaults = Object.fromEntries(spec.signals.map((each) => [each.name, each.value]));
    const chosen = () => controls.map((each) => selects.get(each)?.value ?? defaults[each]);
    const options = {
      mode: "vega", renderer: "svg", actions: false,
    };
    const drawn = vegaEmbed(drawing, spec, options).then(({ view }) => {
      view.addEventListener("click", (event, item) => {
        const row = item?.datum?.row;
        if (row && document.getElementById(anchor(row))) location.hash = anchor(row);
      });
      return view;
    });
    async function update() {
      const message = said[chosen().join("\n")];
      words.textContent = message ?? "";
      words.hidden = message === undefined;
      drawing.hidden = message !== undefined;
      const view = await drawn;
      controls.forEach((control, place) => view.signal(control, chosen()[place]));
      await view.runAsync();
      // while it was hidden it had no width
      window.dispatchEvent(new Event("resize"));
      figure.dataset.drawn = chosen().join(" ");
    }
    selects.forEach((select) => select.addEventListener("change", update));
    figure.querySelectorAll("[data-save]").forEach((button) => button.addEventListener("click", async () => {
      const view = await drawn;
      view.background("white");
      const link = document.createElement("a");
      link.href = await view.toImageURL(button.dataset.save, 2);
      link.download = `${[name, ...chosen()].join("-").replace(/[^\w.-]+/g, "-")}.${button.dataset.save}`;
      link.click();
      view.background(null);
    }));
    return update();
  }

  /* The same as anchor() in html_table.py. */
  const anchor = (row) => `row-${row}`.replace(/[^\w.-]+/g, "-");

  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("vidcost-theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("vidcost-theme", theme); } catch { /* for this page alone */ } };
  function show(theme) {
    if (theme) root.dataset.theme = theme;
    const isDark = (theme ?? (dark.matches ? "dark" : "light")) === "dark";
    button.ariaPressed = String(isDark);
    button.textContent = isDark ? "Light" : "Dark";
    button.ariaLabel = isDark ? "Use the light theme" : "Use the dark theme";
  }
  button.addEventListener("click", () => {
    const theme = button.ariaPressed === "true" ? "light" : "dark";
    store(theme);
    show(theme);
  });
  dark.addEventListener("change", () => show(stored()));
  show(stored());

  Promise.all([...document.querySelectorAll("[data-plot]")].map(setUp))
    .then(() => { root.dataset.ready = "yes"; });
})();
