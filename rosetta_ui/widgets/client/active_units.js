/* The units most active at a marked place, model by model: all that a model has, matched or not. A
   matched one leads to its neuron, and from there to its partners; any other shows its map here. */
(() => {
  "use strict";
  const { h, on, get, select, call, latest, format, term, failure, oneUnit } = window.rosetta;

  /** Unit → the neuron that it belongs to under the chosen rule. */
  function owners(rows) {
    const found = new Map();
    for (const row of rows) {
      for (const { unit } of row.cells) if (!found.has(unit.name)) found.set(unit.name, row);
    }
    return found;
  }

  function line([name, value], known) {
    const row = known.get(name);
    const short = name.slice(name.indexOf("/") + 1);
    const words = `${name}: ${format.value(value)} deviations above its mean`;
    const open = () => select({ neuron: row.key, image: get("state").pin });
    const look = () => select({ unit: get("state").unit === name ? "" : name });
    const title = row ? `${words}. Open its neuron ${row.key}` : `${words}. Show its map here`;
    const unit = h(
      `button.unit${row ? ".matched" : ""}`,
      { type: "button", title, onclick: row ? open : look, data: row ? {} : { unit: name } },
      short,
    );
    const amount = h("span.r-num", {}, `${value < 0 ? "" : "+"}${format.r(value)} σ`);
    return h("li", {}, unit, amount);
  }

  function column({ model, looked_at: looked, every, units }, known) {
    const note = every
      ? `of ${format.count(looked)} units`
      : looked
        ? `of ${format.count(looked)} stored units`
        : "no maps of this image";
    const why = every
      ? "Every unit of this model was ranked."
      : `The weights of ${model} are not here: only units whose maps this result keeps are ranked.`;
    return h(
      "div.column",
      {},
      h("h4", { title: why }, model, h("small", {}, note)),
      h("ol", {}, ...units.map((unit) => line(unit, known))),
    );
  }

  /** Wire the panel `root`; gives {load(), forget()}.

      `server` has there and unit; `place(corners)` marks another place. */
  function activeUnits(root, server, place) {
    const ask = latest((payload) => call(server.there, payload));
    const panel = h("div.one", { hidden: true });
    let shown = null; // the place whose units are listed
    let heights = new Map();
    const one = oneUnit(panel, { ask: server.unit, heightOf: (unit) => heights.get(unit), place });

    async function load() {
      const { result, point, pin } = get("state");
      const asked = point && get("gallery")?.rows ? JSON.stringify([result, pin, point]) : "";
      if (asked === shown) return;
      shown = asked;
      root.hidden = !asked;
      if (!asked) {
        one.show();
        return;
      }
      root.replaceChildren(h("p.r-soft", {}, "Every model looks at this image…"));
      try {
        const box = point.split(",").map(Number);
        const models = await ask({ result, image: Number(pin), box });
        if (models && asked === shown) fill(models);
      } catch (error) {
        if (asked === shown) root.replaceChildren(failure(error));
      }
    }

    function fill(models) {
      const known = owners(get("gallery").rows);
      heights = new Map(models.flatMap(({ units }) => units));
      root.replaceChildren(
        h("h3", {}, "Most active units at the marked place"),
        h(
          "p.r-small.r-soft",
          {},
          "How far each ",
          term("unit"),
          " stands above its own mean, in ",
          term("σ", "deviations"),
          ". Underlined units belong to a neuron of this list and open it; any other shows its ",
          term("map"),
          ".",
        ),
        panel,
        h("div.columns", {}, ...models.map((each) => column(each, known))),
      );
      look();
    }

    /** Show the unit that the address names, and mark it in the lists. */
    function look() {
      one.show();
      for (const button of root.querySelectorAll("button[data-unit]")) {
        button.setAttribute("aria-pressed", String(button.dataset.unit === get("state").unit));
      }
    }

    on("state", (_, changed) => changed.has("unit") && look());
    return {
      load,
      forget() {
        shown = null;
      },
    };
  }

  Object.assign(window.rosetta, { activeUnits });
})();
