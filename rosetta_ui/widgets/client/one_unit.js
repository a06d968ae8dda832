/* One unit on the marked image, matched or not: its map over the picture, the raw values under the
   pointer, and what it is paired with. The address holds it as `unit`. */
(() => {
  "use strict";
  const { h, on, get, select, call, latest, format, icon, term, failure, figures } =
    window.rosetta;

  /** "model/layer:channel" in its parts, as rows of the gallery have them. */
  function parsed(name) {
    const model = name.slice(0, name.indexOf("/"));
    const colon = name.lastIndexOf(":");
    const layer = name.slice(model.length + 1, colon);
    return { name, model, layer, channel: Number(name.slice(colon + 1)) };
  }

  const sigma = (value) => `${value < 0 ? "" : "+"}${format.r(value)} σ`;

  /** Wire the panel `root`; gives {show()}, which shows the unit that the address names.

      `ask` gives {image, picture, cell, pairs} of a unit; `heightOf(unit)` how far it stands above
      its mean at the marked place, or undefined; `place(corners)` marks another place. */
  function oneUnit(root, { ask, heightOf, place }) {
    const question = latest((payload) => call(ask, payload));
    let shown = ""; // the question that the panel answers
    let answer = null;
    let tiles = [];

    const marked = () => get("state").point.split(",").filter(Boolean).map(Number);

    async function show() {
      const { unit, pin, point } = get("state");
      const gallery = get("gallery");
      const wanted = unit && point && gallery?.rows;
      const view = wanted && { result: gallery.result, ...gallery.selection, image: Number(pin), unit };
      const asked = view ? JSON.stringify(view) : "";
      if (asked === shown) return;
      shown = asked;
      answer = null;
      root.hidden = !view;
      if (!view) {
        root.replaceChildren();
        return;
      }
      root.replaceChildren(h("p.r-soft.r-small", {}, `Looking at ${unit}…`));
      try {
        const got = await question(view);
        if (got && asked === shown) draw(unit, got);
      } catch (error) {
        if (asked === shown) root.replaceChildren(close(), failure(error));
      }
    }

    const close = () =>
      h(
        "button.r-button.small.icon.quiet.close",
        {
          type: "button",
          "aria-label": "Close this unit",
          title: "Close",
          onclick: () => select({ unit: "" }),
        },
        icon("cross"),
      );

    function draw(unit, got) {
      answer = { ...got, cells: [figures.decoded(got.cell)], coarse: false };
      const height = heightOf(unit);
      const cell = {
        unit: parsed(unit),
        note: height === undefined ? "" : `${sigma(height)} at the marked place`,
      };
      tiles = [figures.figure(cell, answer)];
      root.replaceChildren(tiles[0].node, h("div.known", {}, ...told(unit, got.pairs)));
      paint();
      figures.drawMark(root, marked());
      root.scrollIntoView({ block: "nearest" }); // the lists below it are long
    }

    /** What is known about it: no neuron of the list has it, so there may be few pairs or none. */
    function told(unit, pairs) {
      const known = pairs.map(([partner, r, chance]) =>
        h(
          "li",
          {},
          h(
            "button.unit.matched",
            {
              type: "button",
              title: `Show the map of ${partner}`,
              onclick: () => select({ unit: partner }),
            },
            partner,
          ),
          h(
            "span.r-num",
            {},
            `r ${format.r(r)}`,
            h("span.r-soft", {}, ` null ${format.r(chance)}`),
          ),
        ),
      );
      return [
        h("div.head", {}, h("h4.r-mono", {}, unit), close()),
        h(
          "p.r-small.r-soft",
          {},
          "No ",
          term("Rosetta Neuron"),
          " of this list has it: under this ",
          term("rule"),
          known.length ? " it is paired only with" : " it is paired with no unit.",
        ),
        known.length ? h("ol", {}, ...known) : null,
      ].filter(Boolean);
    }

    function paint() {
      if (answer) figures.paint(tiles, answer, get("view"));
    }

    figures.watchPointer(root, {
      hover: (x, y) => answer && figures.readAt(tiles, answer, x, y),
      place: (corners) => answer && place(corners),
    });
    on("view", paint);
    return { show };
  }

  Object.assign(window.rosetta, { oneUnit });
})();
