"use strict";
// Makes the report interactive. Everything it shows is in the page's tables as well; texts reach
// the page by textContent alone.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const DAY_UNITS = [[1e6, "MWh"], [1e3, "kWh"], [1, "Wh"]];

  const make = (name, parent, text, cssClass) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (cssClass) element.className = cssClass;
    parent.append(element);
    return element;
  };
  const places = (value) => {
    const size = Math.abs(value);
    return size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  };
  const fixed = (value, digits) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const percent = (value) => `${fixed(100 * value, 1)}%`;
  const withHalf = (figure) => {
    if (figure.mean === null) return "-";
    if (figure.low === null) return percent(figure.mean);
    return `${fixed(100 * figure.mean, 1)} ± ${percent(figure.high - figure.mean)}`;
  };
  const energy = (joules) => {
    const wattHours = joules / 3600;
    const [factor, unit] = DAY_UNITS.find(([size]) => Math.abs(wattHours) >= size) || [1, "Wh"];
    const value = wattHours / factor;
    return `${fixed(value, places(value))} ${unit}`;
  };
  const share = (value) =>
    value > 0 && value < 0.005 ? "<1%" : `${fixed(100 * value, 0)}%`;

  // Tables that fit need no tab stop of their own.
  const tables = [...document.querySelectorAll(".scroll")];
  const fitTables = () => {
    for (const table of tables) {
      if (table.scrollWidth > table.clientWidth + 1) table.setAttribute("tabindex", "0");
      else table.removeAttribute("tabindex");
    }
  };
  fitTables();
  addEventListener("resize", fitTables);

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const element of folded) element.open = true;
  });
  addEventListener("afterprint", () => {
    for (const element of folded) element.open = false;
  });

  const stored = document.getElementById("report-data");
  if (!stored) return;
  const data = JSON.parse(stored.textContent);

  // The frontier plot: what is under the pointer, and where the bar leads.
  const plots = [];
  const figure = document.getElementById("plot-frontier");
  const tip = figure ? make("div", figure, "", "tip") : null;
  if (tip) {
    tip.hidden = true;
    tip.setAttribute("aria-hidden", "true");
    for (const svg of figure.querySelectorAll(":scope > svg")) plots.push(prepare(svg));
  }

  function prepare(svg) {
    const read = (name) => Number(svg.dataset[name]);
    const [left, right, top, bottom] = ["left", "right", "top", "bottom"].map(read);
    const [x0, x1, y0, y1] = ["x0", "x1", "y0", "y1"].map(read);
    const place = ([x, y]) => [
      left + ((Math.log(x) - Math.log(x0)) / (Math.log(x1) - Math.log(x0))) * (right - left),
      bottom - ((y - y0) / (y1 - y0)) * (bottom - top),
    ];
    const add = (name) => {
      const element = document.createElementNS(SVG, name);
      element.setAttribute("class", "marker");
      svg.append(element);
      return element;
    };
    const line = add("line");
    const ring = add("circle");
    ring.setAttribute("r", "8");
    line.setAttribute("stroke-dasharray", "4 3");
    const prefix = svg.classList.contains("narrow") ? "frontier-narrow" : "frontier-wide";
    const lines = data.methods.map((_, i) => document.getElementById(`${prefix}-line-${i}`));
    const plot = { svg, lines, line, ring, place, left, right, top, bottom, y0, y1 };
    svg.classList.add("plotted");
    svg.addEventListener("pointermove", (event) => point(plot, event));
    svg.addEventListener("pointerleave", () => highlight(-1));
    svg.addEventListener("click", (event) => pick(plot, event));
    return plot;
  }

  function position(plot, event) {
    const at = new DOMPoint(event.clientX, event.clientY);
    return at.matrixTransform(plot.svg.getScreenCTM().inverse());
  }

  function point(plot, event) {
    const at = position(plot, event);
    let best = { distance: 18, line: -1 };
    const consider = (spot, line, name) => {
      const [x, y] = plot.place(spot);
      if (y < plot.top - 1 || y > plot.bottom + 1) return;
      const distance = Math.hypot(x - at.x, y - at.y);
      if (distance < best.distance) best = { distance, line, name, spot };
    };
    data.models.forEach((model) => {
      if (model.spot) consider(model.spot, -2, model.name);
    });
    if (best.line !== -2 || best.distance > 6) {
      data.methods.forEach((method, i) => {
        method.points.forEach((spot) => consider(spot, i, method.name));
      });
    }
    if (!best.spot) {
      highlight(-1);
      return;
    }
    highlight(best.line);
    tip.replaceChildren();
    make("strong", tip, best.name);
    make("span", tip, `quality ${percent(best.spot[1])}, energy ${percent(best.spot[0])}`);
    tip.hidden = false;
    const box = figure.getBoundingClientRect();
    const x = event.clientX - box.left;
    tip.style.top = `${event.clientY - box.top + 14}px`;
    tip.style.left = `${Math.max(0, Math.min(x + 12, box.width - tip.offsetWidth))}px`;
  }

  function highlight(number) {
    if (tip && number === -1) tip.hidden = true;
    for (const plot of plots) {
      plot.lines.forEach((line, i) => {
        if (line) line.classList.toggle("dim", number >= 0 && i !== number);
      });
    }
  }

  if (figure) {
    figure.querySelectorAll(".legend li").forEach((item, i) => {
      item.addEventListener("pointerenter", () => highlight(i));
      item.addEventListener("pointerleave", () => highlight(-1));
    });
  }

  // The explorer: one bar, its models, its energy.
  const explorer = document.getElementById("explorer");
  if (!explorer || !data.bars.length) return;
  const slider = document.getElementById("bar");
  const shown = document.getElementById("bar-value");
  const traffic = document.getElementById("traffic");
  const cards = explorer.querySelector(".cards");
  const shares = explorer.querySelector(".shares");
  const status = explorer.querySelector("[role=status]");

  function pick(plot, event) {
    const at = position(plot, event);
    const quality = plot.y0 + ((plot.bottom - at.y) / (plot.bottom - plot.top)) * (plot.y1 - plot.y0);
    slider.value = String(Math.round(100 * quality));
    show();
  }

  function card(label, value, note) {
    const box = make("div", cards);
    make("dt", box, label);
    const list = make("dd", box);
    make("div", list, value, "value");
    make("div", list, note, "note");
  }

  function show() {
    const bar = data.bars.find((found) => Math.round(100 * found.bar) === Number(slider.value));
    const requests = Math.max(0, Math.min(Number(traffic.value) || 0, 1e12));
    const name = bar.bar.toFixed(2);
    shown.textContent = name;
    slider.setAttribute("aria-valuetext", name);
    cards.replaceChildren();
    card("Quality kept", withHalf(bar.quality),
      `of the reference model's; bar kept in ${bar.n_kept} of ${data.n_seeds} splits`);
    card("Energy", withHalf(bar.energy), "of always using the reference model");
    card("One request", `${fixed(bar.energy_j.mean, places(bar.energy_j.mean))} J`,
      `always the reference model: ${fixed(bar.reference_energy_j.mean,
        places(bar.reference_energy_j.mean))} J`);
    card("Saved per day", energy(requests * bar.saved_j.mean),
      `against the reference model; ${energy(requests * bar.saved_against_zero_j.mean)} against ` +
      "a fixed mix at the same bar");
    shares.replaceChildren();
    data.models.map((model, i) => [bar.shares[i], model.name])
      .filter(([part]) => part >= 0.0005)
      .sort(([a], [b]) => b - a)
      .forEach(([part, model]) => {
        const item = make("li", shares);
        make("span", item, model);
        const track = make("span", item, undefined, "bar");
        make("span", track).style.width = `${100 * part}%`;
        make("span", item, share(part), "amount");
      });
    status.textContent = `At bar ${name}: quality ${percent(bar.quality.mean)}, ` +
      `energy ${percent(bar.energy.mean)} of the reference model.`;
    for (const plot of plots) {
      const [, level] = plot.place([1, bar.bar]);
      const [x, y] = plot.place([bar.energy.mean, bar.quality.mean]);
      const inside = level >= plot.top && level <= plot.bottom;
      plot.line.setAttribute("visibility", inside ? "visible" : "hidden");
      plot.line.setAttribute("x1", plot.left);
      plot.line.setAttribute("x2", plot.right);
      plot.line.setAttribute("y1", level);
      plot.line.setAttribute("y2", level);
      const seen = y >= plot.top && y <= plot.bottom && x >= plot.left && x <= plot.right;
      plot.ring.setAttribute("visibility", seen ? "visible" : "hidden");
      plot.ring.setAttribute("cx", x);
      plot.ring.setAttribute("cy", y);
    }
  }

  explorer.hidden = false;
  slider.addEventListener("input", show);
  traffic.addEventListener("input", show);
  show();
})();
