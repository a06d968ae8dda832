/* The figures of the large view: a picture, or a model's map over it, with what is known about the
   unit; the raw values under the pointer; a place marked by a click or a box. */
(() => {
  "use strict";
  const { h, format, term, maps } = window.rosetta;

  const SMOOTH = 128; // px of an enlarged map: finer is not seen at the size of a tile
  const CLICK = 0.04; // a drag shorter than this share of the picture is a click

  const OWN = "the generator's own unit";

  const pictureOf = (answer) =>
    h("img", { src: answer.picture, alt: `Generated image ${answer.image}`, draggable: "false" });
  const fact = (words, value) => h("span", {}, words, " ", h("b", {}, value));

  /** The picture alone, with what holds for the whole neuron. */
  function generated(row, answer, threshold) {
    const facts = [
      fact(term("weakest", "weakest r"), format.r(row.score)),
      fact(term("null"), format.r(row.null)),
      threshold === null ? null : fact(term("threshold"), format.r(threshold)),
    ];
    const caption = [
      h("span.model", {}, "Generated image"),
      h("span.unit", {}, `image ${answer.image} of ${answer.n_images}`),
      h("div.scores.r-num", {}, ...facts),
    ];
    const tile = h("span.r-tile", {}, pictureOf(answer), h("i.mark"), h("i.probe"));
    return h("div.figure", {}, tile, h("div.caption", {}, ...caption));
  }

  /** One model's map over the picture: {node, canvas, reading, legend}. A cell has a unit and, where
      it is a partner, its score; `note` is said where it has none. */
  function figure(cell, answer) {
    const { unit } = cell;
    const named = { role: "img", "aria-label": `Map of ${unit.name}`, data: { unit: unit.name } };
    const canvas = h("canvas", named);
    const reading = h("span.reading");
    const colours = { title: "Colours from the lowest to the highest activation" };
    const legend = h("span.legend", colours, h("span"), h("i"), h("span"));
    const over = [pictureOf(answer), canvas, h("i.mark"), h("i.probe"), reading];
    const caption = [
      legend,
      h("span.model", { title: unit.model }, unit.model),
      h("span.unit", { title: unit.name }, `${unit.layer}:${unit.channel}`),
      ...(cell.score === undefined ? [h("div.scores", {}, cell.note ?? OWN)] : scores(cell)),
    ];
    const tile = h("span.r-tile.has-map", {}, ...over);
    const node = h("div.figure", {}, tile, h("div.caption", {}, ...caption));
    return { node, canvas, reading, legend };
  }

  function scores(cell) {
    const facts = [
      fact(term("null"), format.r(cell.null)),
      fact(term("rank"), String(cell.rank)),
      cell.halves ? fact(term("halves"), cell.halves.map(format.r).join(" / ")) : null,
    ];
    const score = h("span.r.r-num", {}, term("score", "r"), " ", h("b", {}, format.r(cell.score)));
    return [
      h("div.scored", {}, meter(cell.score, cell.null), score),
      h("div.scores.r-num", {}, ...facts),
    ];
  }

  /** What is known about a neuron of a result without pictures: scores, model by model. */
  function bare(row) {
    return row.cells.map((cell) => {
      const { unit } = cell;
      const own = h("div.scores", {}, OWN);
      const known = cell.score === undefined ? [own] : scores(cell);
      const model = h("span.model", {}, unit.model);
      const name = h("span.unit", {}, `${unit.layer}:${unit.channel}`);
      return h("div.figure", {}, h("div.caption", {}, model, name, ...known));
    });
  }

  /** A bar for a score with a mark for its null; both from 0 to 1. */
  function meter(score, chance, attributes = {}) {
    const fill = h("i");
    const mark = h("u");
    fill.style.width = `${Math.max(0, score) * 100}%`;
    mark.style.left = `${Math.max(0, chance ?? 0) * 100}%`;
    return h("div.meter", attributes, fill, chance === null ? null : mark);
  }

  /** Stored maps are shares of the unit's range; computed ones are activations. */
  const valueOf = (answer) =>
    answer.coarse ? (share) => `${Math.round(100 * share)} %` : format.value;

  /** A map as the server gave it, with its raw values and its own lowest and highest. */
  function decoded(cell) {
    const raw = maps.floats(cell.values);
    let low = Infinity;
    let high = -Infinity;
    for (const v of raw) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
    return { ...cell, raw, own: [low, high] };
  }

  /** Paint every map; the scale is the unit's range over the data set, or in this image. */
  function paintFigures(tiles, answer, view) {
    const value = valueOf(answer);
    tiles.forEach(({ canvas, legend }, i) => {
      const { raw, width, height, low, high, own } = answer.cells[i];
      const [from, to] = view.scale === "image" ? own : [low, high];
      maps.paint(canvas, maps.levels(raw, from, to), width, height, view, SMOOTH);
      const [least, bar, most] = legend.children;
      least.textContent = value(from);
      bar.style.background = maps.gradient(view.colours);
      most.textContent = value(to);
    });
  }

  /** Write the raw value at a place under the pointer into every tile. */
  function readAt(tiles, answer, x, y) {
    const value = valueOf(answer);
    const cellAt = (size, t) => Math.min(size - 1, Math.max(0, Math.floor(t * size)));
    tiles.forEach(({ reading }, i) => {
      const { raw, width, height } = answer.cells[i];
      reading.textContent = value(raw[cellAt(height, y) * width + cellAt(width, x)]);
    });
  }

  const between = (a, b) => [
    ...[Math.min(a.x, b.x), Math.min(a.y, b.y)],
    ...[Math.max(a.x, b.x), Math.max(a.y, b.y)],
  ];

  /** Show a marked place, [x, y] or [x0, y0, x1, y1], in every tile; an empty list hides it. */
  function drawMark(root, place) {
    const [x0, y0, x1, y1] = place.length === 2 ? [...place, ...place] : place;
    for (const mark of root.querySelectorAll(".mark")) {
      mark.hidden = place.length === 0;
      mark.classList.toggle("spot", place.length === 2);
      const share = (v) => `${100 * v}%`;
      Object.assign(mark.style, { left: share(x0), top: share(y0) });
      Object.assign(mark.style, { width: share(x1 - x0), height: share(y1 - y0) });
    }
  }

  /** Follow the pointer over the tiles: `hover(x, y)` while it moves, `place([...])` after a click
      or a box. Fingers scroll the page, so they click but draw no box. */
  function watchPointer(root, { hover, place }) {
    let start = null;

    const at = (tile, event) => {
      const box = tile.getBoundingClientRect();
      const share = (v, low, size) => Math.min(1, Math.max(0, (v - low) / size));
      return {
        x: share(event.clientX, box.left, box.width),
        y: share(event.clientY, box.top, box.height),
      };
    };

    root.addEventListener("pointermove", (event) => {
      const tile = start?.tile ?? event.target.closest(".r-tile");
      root.classList.toggle("probing", Boolean(tile));
      if (!tile) return;
      const here = at(tile, event);
      if (start) drawMark(root, between(start, here));
      for (const dot of root.querySelectorAll(".probe")) {
        Object.assign(dot.style, { left: `${100 * here.x}%`, top: `${100 * here.y}%` });
      }
      hover(here.x, here.y);
    });
    root.addEventListener("pointerleave", () => root.classList.remove("probing"));
    root.addEventListener("pointerdown", (event) => {
      const tile = event.target.closest(".r-tile");
      if (!tile || event.button !== 0) return;
      start = { ...at(tile, event), tile };
      if (event.pointerType !== "touch") tile.setPointerCapture(event.pointerId);
    });
    root.addEventListener("pointerup", (event) => {
      if (!start) return;
      const corners = between(start, at(start.tile, event));
      const small = corners[2] - corners[0] < CLICK && corners[3] - corners[1] < CLICK;
      const chosen = small ? [start.x, start.y] : corners;
      start = null;
      place(chosen);
    });
    root.addEventListener("pointercancel", () => {
      start = null;
    });
  }

  Object.assign(window.rosetta, {
    meter,
    figures: {
      ...{ generated, figure, bare, decoded, paint: paintFigures },
      ...{ readAt, drawMark, watchPointer },
    },
  });
})();
