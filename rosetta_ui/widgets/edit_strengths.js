/* One edit at several strengths: fidelity against realism, and a click takes one. */
const { h, on, put, format } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const SVG = "http://www.w3.org/2000/svg";
const LIMIT = 95; // percentile of natural pictures beyond which a picture is called unnatural

let shown = null;

const strength = (point) => {
  const parts = new Set(shown.points.map((p) => p.share)).size > 1;
  return parts ? `${Math.round(100 * point.share)} %` : `pull ${point.pull}`;
};

on("edit-frontier", (found) => {
  shown = found?.points?.length ? found : null;
  part("panel").hidden = !shown;
  if (!shown) return;
  part("title").textContent = `${shown.label}, at several strengths`;
  part("about").textContent = shown.natural < 0
    ? "None of them stays within the 95 % of this generator's own pictures: make a smaller change."
    : `The strongest that stays natural is ${strength(shown.points[shown.natural])}. Press one to take it.`;
  part("rungs").replaceChildren(...shown.points.map(card));
  part("plot").replaceChildren(plot());
});

function card(point, i) {
  const { after, realism } = point.numbers;
  const far = realism > LIMIT;
  const words = [after === null ? null : `did ${format.r(after)}`, `percentile ${realism.toFixed(0)}${far ? ", not natural" : ""}`];
  return h(`button.rung${i === shown.natural ? ".best" : ""}`, {
    type: "button", "aria-pressed": "false", onclick: () => choose(i),
    "aria-label": `Take strength ${strength(point)}: ${words.filter(Boolean).join(", ")}`,
  }, h("img", { src: point.thumb, alt: "" }), h("b", {}, strength(point)),
  words[0] ? h("small", {}, words[0]) : null, h(`small${far ? ".warn" : ""}`, {}, words[1]));
}

function choose(i) {
  for (const [n, button] of [...part("rungs").children].entries()) button.setAttribute("aria-pressed", String(n === i));
  put("edit-take", i);
}

const draw = (name, attributes, text = "") => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
};

/** Fidelity upwards (or the share, where nothing moves), the realism percentile to the right. */
function plot() {
  const [W, H, L, B, T, R] = [340, 210, 38, 34, 10, 10];
  const heights = shown.points.map((p) => p.numbers.after ?? p.share);
  const low = Math.min(...heights, shown.points[0].numbers.before ?? 0);
  const high = Math.max(...heights, low + 0.05);
  const x = (value) => L + (value / 100) * (W - L - R);
  const y = (value) => T + (1 - (value - low) / (high - low)) * (H - T - B);
  const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Fidelity against realism, one point a strength" });
  svg.append(draw("rect", { class: "far", x: x(LIMIT), y: T, width: x(100) - x(LIMIT), height: H - T - B }),
    draw("rect", { class: "frame", x: L, y: T, width: W - L - R, height: H - T - B }));
  for (const at of [0, 25, 50, 75, 95]) svg.append(draw("text", { x: x(at), y: H - B + 14, "text-anchor": "middle" }, String(at)));
  for (const at of [low, (low + high) / 2, high]) svg.append(draw("text", { x: L - 5, y: y(at) + 4, "text-anchor": "end" }, at.toFixed(2)));
  svg.append(draw("text", { x: (L + W - R) / 2, y: H - 4, "text-anchor": "middle" }, "Further out than … % of natural pictures"));
  const places = shown.points.map((p, i) => [x(p.numbers.realism), y(heights[i])]);
  svg.append(draw("polyline", { class: "way", points: places.map((p) => p.join(",")).join(" ") }));
  places.forEach(([cx, cy], i) => {
    const dot = draw("circle", { cx, cy, r: i === shown.natural ? 7 : 5, class: shown.points[i].numbers.realism > LIMIT ? "warn" : "" });
    dot.append(draw("title", {}, strength(shown.points[i])));
    dot.addEventListener("click", () => choose(i));
    svg.append(dot);
  });
  return svg;
}

part("close").addEventListener("click", () => put("edit-frontier", null));
