/* A tab whose work is not built yet says so, and what it will do. */
const { h, select } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const SVG = "http://www.w3.org/2000/svg";

function drawing(shapes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 72 72");
  svg.setAttribute("aria-hidden", "true");
  for (const { tag, ...attributes } of [
    { tag: "rect", class: "frame", x: 4, y: 4, width: 64, height: 64, rx: 8 },
    ...shapes,
  ]) {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.append(shape);
  }
  return svg;
}

const { title, text, cards } = props.value;
part("title").textContent = title;
part("text").textContent = text;
part("cards").replaceChildren(
  ...cards.map((card) =>
    h("div.card", {}, drawing(card.shapes), h("b", {}, card.title), h("p", {}, card.text)),
  ),
);
part("go").addEventListener("click", () => select({ tab: "gallery" }));
