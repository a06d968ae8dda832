/* The units most active at a marked place, model by model: all that a model has, matched or not. A
   matched one leads to its neuron, and from there to its partners. */
(() => {
  "use strict";
  const { h, get, select, format, term } = window.rosetta;

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
    const amount = h("span.r-num", {}, `${value < 0 ? "" : "+"}${format.r(value)} σ`);
    const unit = row
      ? h(
          "button.unit.matched",
          {
            type: "button",
            title: `${words}. Open its neuron ${row.key}`,
            onclick: () => select({ neuron: row.key, image: get("state").pin }),
          },
          short,
        )
      : h("span.unit", { title: `${words}. It has no partner in every backbone` }, short);
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

  /** Fill `root` with the lists that the server gave. */
  function showActive(root, models) {
    const known = owners(get("gallery").rows);
    root.replaceChildren(
      h("h3", {}, "Most active units at the marked place"),
      h(
        "p.r-small.r-soft",
        {},
        "How far each ",
        term("unit"),
        " stands above its own mean, in its deviations. Underlined units belong to a neuron of this list.",
      ),
      h("div.columns", {}, ...models.map((each) => column(each, known))),
    );
  }

  Object.assign(window.rosetta, { showActive });
})();
