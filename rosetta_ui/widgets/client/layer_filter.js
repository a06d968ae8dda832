/* The Gallery's filter by layers: a model, from which to which of its layers, and the size of maps.
   Works on the selection; the neurons themselves are filtered by `neurons.passing`. */
(() => {
  "use strict";
  const { h, select, neurons } = window.rosetta;

  /** Wire the four lists in `part`; gives {fill(gallery), show(state)}. */
  function layerFilter(part) {
    let models = [];
    let counts = new Map();

    const modelOf = (state) => models.find((model) => model.name === state.model);

    function option(depth, name, model) {
      const n = counts.get(model)?.get(depth) ?? 0;
      return h("option", { value: String(depth) }, `${name} (${n})`);
    }

    /** The lists of a result's models, layers and sizes. */
    function fill(gallery, tally) {
      models = gallery.models;
      counts = tally.layers;
      part("model").replaceChildren(
        h("option", { value: "" }, "Any model"),
        ...models.map((model) => h("option", { value: model.name }, model.name)),
      );
    }

    function show(state) {
      const model = modelOf(state);
      part("model").value = model ? state.model : "";
      const layers = model?.layers ?? [];
      for (const [id, usual] of [
        ["from", "First layer"],
        ["to", "Last layer"],
      ]) {
        part(id).disabled = !model;
        part(id).replaceChildren(
          h("option", { value: "" }, usual),
          ...layers.map((layer, depth) => option(depth, layer.name, state.model)),
        );
        part(id).value = state[id];
      }
      const known = (model ? [model] : models).flatMap((each) => each.layers);
      const sizes = [...new Map(known.map((layer) => [neurons.sizeOf(layer.size), layer.size]))];
      sizes.sort((a, b) => a[1][0] - b[1][0] || a[1][1] - b[1][1]);
      part("size").replaceChildren(
        h("option", { value: "" }, "Any size"),
        ...sizes.map(([key, [height, width]]) => h("option", { value: key }, `${height} × ${width}`)),
      );
      part("size").value = state.size;
      part("layers-text").textContent = described(state, model);
    }

    function described(state, model) {
      const name = (at, usual) => (at === "" ? usual : (model?.layers[Number(at)]?.name ?? usual));
      const range =
        model && (state.from !== "" || state.to !== "")
          ? `${name(state.from, "first")} – ${name(state.to, "last")}`
          : "";
      const size = state.size === "" ? "" : state.size.replace("x", " × ");
      return [model?.name, range, size].filter(Boolean).join(", ") || "All layers";
    }

    part("model").addEventListener("change", (e) =>
      select({ model: e.target.value, from: "", to: "", size: "" }),
    );
    // A range that ends before it begins would show nothing: the other end follows.
    part("from").addEventListener("change", (e) => {
      const from = e.target.value;
      const to = part("to").value;
      select({ from, to: from !== "" && to !== "" && Number(to) < Number(from) ? from : to });
    });
    part("to").addEventListener("change", (e) => {
      const to = e.target.value;
      const from = part("from").value;
      select({ to, from: from !== "" && to !== "" && Number(from) > Number(to) ? to : from });
    });
    part("size").addEventListener("change", (e) => select({ size: e.target.value }));
    return { fill, show };
  }

  Object.assign(window.rosetta, { layerFilter });
})();
