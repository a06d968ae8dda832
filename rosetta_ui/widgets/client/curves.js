/* The loss of an optimiser as it falls: one line a term and one for their sum, drawn in SVG so that
   the style sheet gives the colours in light and dark. */
(() => {
  "use strict";
  const { h, format } = window.rosetta;

  const SVG = "http://www.w3.org/2000/svg";
  const MOST = 240; // points a line: a screen shows no more
  const MARGIN = { left: 46, right: 8, top: 8, bottom: 20 };

  function shape(tag, attributes) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
    return node;
  }

  const total = (point) => Object.values(point.terms).reduce((sum, value) => sum + value, 0);

  /** Every nth point, and always the last. */
  function thinned(points) {
    const every = Math.ceil(points.length / MOST);
    return points.filter((_, i) => i % every === 0 || i === points.length - 1);
  }

  /** Round numbers that divide a range into about four parts. */
  function ticks(low, high) {
    const raw = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
    return found;
  }

  /** Make a plot in `node`; gives {draw(points), clear()}, points being {step, terms, best}.

      `called` are other words for some terms. */
  function curves(node, called = {}) {
    const picture = shape("svg", { role: "img", "aria-label": "The loss; nothing has run yet." });
    const legend = h("ul.legend.r-num");
    node.replaceChildren(picture, legend);
    let shown = []; // points
    let plotted = null; // {lines, x, y} of the last drawing

    function draw(points) {
      shown = points;
      const width = Math.max(picture.clientWidth, 160);
      const height = Math.max(picture.clientHeight, 100);
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.replaceChildren();
      if (!points.length) return list(null);
      const names = Object.keys(points.at(-1).terms);
      const lines = names.map((name, i) => ({ name, kind: `term${i}`, of: (p) => p.terms[name] ?? 0 }));
      if (names.length > 1) lines.push({ name: "all together", kind: "total", of: total });
      else if (lines.length) lines[0].kind = "total";
      plotted = { lines, ...axes(points, lines, width, height) };
      const few = thinned(points);
      for (const { kind, of } of lines) {
        const places = few.map((p) => `${plotted.x(p.step).toFixed(1)},${plotted.y(of(p)).toFixed(1)}`);
        picture.append(shape("polyline", { class: `line ${kind}`, points: places.join(" ") }));
      }
      const [first, last] = [total(points[0]), total(points.at(-1))];
      const words = `Loss ${format.value(first)} at step ${points[0].step}, ${format.value(last)} at step ${points.at(-1).step}`;
      picture.setAttribute("aria-label", words);
      Object.assign(node.dataset, { first, last, points: points.length });
      list(points.at(-1));
    }

    function axes(points, lines, width, height) {
      const values = points.flatMap((p) => lines.map(({ of }) => of(p)));
      let low = values.reduce((a, b) => Math.min(a, b), 0);
      let high = values.reduce((a, b) => Math.max(a, b), 0);
      if (high - low < 1e-9) high = low + 1;
      low -= low < 0 ? 0.04 * (high - low) : 0;
      high += 0.04 * (high - low);
      const end = Math.max(points.at(-1).step, 2);
      const begin = points[0].step;
      const x = (step) =>
        MARGIN.left + ((step - begin) / Math.max(end - begin, 1)) * (width - MARGIN.left - MARGIN.right);
      const y = (value) =>
        MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
      for (const at of ticks(low, high)) {
        picture.append(shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(at), y2: y(at) }));
        const text = shape("text", { class: "tick", x: MARGIN.left - 6, y: y(at) + 4, "text-anchor": "end" });
        text.textContent = format.value(Math.abs(at) < 1e-9 ? 0 : at);
        picture.append(text);
      }
      for (const [at, anchor] of [[begin, "start"], [end, "end"]]) {
        const text = shape("text", { class: "tick", x: x(at), y: height - 5, "text-anchor": anchor });
        text.textContent = anchor === "end" ? `step ${at}` : String(at);
        picture.append(text);
      }
      return { x, y };
    }

    /** The values of one point, beside the colours of the lines. */
    function list(point) {
      legend.replaceChildren(
        ...(point ? plotted.lines : []).map(({ name, kind, of }) =>
          h("li", {}, h(`i.swatch.${kind}`), called[name] ?? name, " ", h("b", {}, format.value(of(point))))),
      );
    }

    picture.addEventListener("pointermove", (event) => {
      if (!shown.length) return;
      const frame = picture.getBoundingClientRect();
      const at = event.clientX - frame.left;
      const near = shown.reduce((best, p) =>
        Math.abs(plotted.x(p.step) - at) < Math.abs(plotted.x(best.step) - at) ? p : best);
      picture.querySelector(".cursor")?.remove();
      const x = plotted.x(near.step);
      picture.append(shape("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: frame.height - MARGIN.bottom }));
      list(near);
    });
    picture.addEventListener("pointerleave", () => {
      picture.querySelector(".cursor")?.remove();
      if (shown.length) list(shown.at(-1));
    });

    function clear() {
      for (const key of ["first", "last", "points"]) delete node.dataset[key];
      draw([]);
      picture.setAttribute("aria-label", "The loss; nothing has run yet.");
    }

    new ResizeObserver(() => draw(shown)).observe(picture);
    return { draw, clear };
  }

  Object.assign(window.rosetta, { curves });
})();
