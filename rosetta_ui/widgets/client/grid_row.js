/* One row of the map grid: the neuron's name and score, its picture, then one map a model. */
(() => {
  "use strict";
  const { h, icon, format, maps, meter } = window.rosetta;

  const SIDE = 16; // cells of a map in the grid, both ways

  /** Make a row.

      `called` is the name that a person gave, undefined where it is no favourite; `concept` what
      its concept is called; `stop` is the column that the Tab key reaches, or -1. */
  function makeRow(row, at, { chosen, called, concept, stop }) {
    const attributes = {
      role: "row",
      "aria-rowindex": String(at + 2),
      "aria-selected": String(chosen),
      data: { at: String(at) },
    };
    const cells = row.cells.map((cell, i) => mapCell(cell, i + 1, stop));
    return h(
      `div.line${row.above ? "" : ".chance"}`,
      attributes,
      heading(row, at, called, concept),
      pictureCell(stop),
      ...cells,
    );
  }

  function heading(row, at, called, concept) {
    const { unit } = row.cells[0];
    const words = `weakest r ${format.r(row.score)}, null ${format.r(row.null)}`;
    const doubt = { title: "Not above the null: chance could give this" };
    const facts = [
      h("b", {}, format.r(row.score)),
      `#${at + 1}`,
      row.above ? null : h("span.r-pill.warn", doubt, "chance"),
    ];
    return h(
      "div.name",
      { role: "rowheader", title: unit.name },
      called === undefined ? null : h("span.called", {}, icon("star"), called),
      h("span.unit", {}, unit.layer, h("wbr"), `:${unit.channel}`),
      h("span.concept", {}, concept),
      h("span.facts.r-num", {}, ...facts),
      meter(row.score, row.null, { title: words }),
    );
  }

  const cellAttributes = (column, stop, words) => ({
    role: "gridcell",
    tabindex: column === stop ? "0" : "-1",
    data: { column: String(column) },
    "aria-label": words,
    title: words,
  });

  const pictureCell = (stop) =>
    h("div.cell.picture", cellAttributes(0, stop, "Picture"), h("span.r-tile"), h("span.under"));

  function mapCell(cell, column, stop) {
    const score = cell.score === undefined ? "" : `, r ${format.r(cell.score)}`;
    const canvas = h("canvas", { width: SIDE, height: SIDE });
    return h(
      "div.cell",
      cellAttributes(column, stop, cell.unit.name + score),
      h("span.r-tile.has-map", {}, canvas),
      h("span.under"),
    );
  }

  /** Under each map stands its score, or how active it is at the place that was marked. */
  function labelRow(line, row, here) {
    line.querySelectorAll(".cell:not(.picture) .under").forEach((text, i) => {
      const { score } = row.cells[i];
      const usual = score === undefined ? "" : format.r(score);
      text.textContent = here ? `${Math.round(100 * here[i])} %` : usual;
    });
  }

  /** Paint a row: `kept` is {image, maps} as the server gave them, `address` the picture's. */
  function paintRow(line, kept, address, view) {
    line.dataset.image = String(kept.image);
    line.querySelector(".picture .under").textContent = `image ${kept.image}`;
    line.querySelectorAll(".r-tile").forEach((tile, column) => {
      if (address) showPicture(tile, address);
      const canvas = tile.querySelector("canvas");
      if (!canvas) return;
      const start = (column - 1) * SIDE * SIDE;
      const map = kept.maps.subarray(start, start + SIDE * SIDE);
      maps.paint(canvas, map, SIDE, SIDE, view, 2 * SIDE);
    });
  }

  function showPicture(tile, address) {
    let image = tile.querySelector("img");
    if (!image) {
      image = h("img", { alt: "", draggable: "false", decoding: "async" });
      tile.prepend(image);
    }
    if (image.src !== address) image.src = address;
  }

  Object.assign(window.rosetta, { gridRow: { make: makeRow, label: labelRow, paint: paintRow } });
})();
