/* Neurons as the Gallery's widgets use them: unfolded from the short lists of the server, grouped,
   filtered and ranked in the page, and laid out as a table for a file. Pure: no element, no request. */
(() => {
  "use strict";

  /** Numbers of layers and channels become units; each row gets the text the search looks in. */
  function unfolded(answer) {
    const unit = (model, layer, channel) => {
      const { name, layers } = answer.models[model];
      const spec = layers[layer];
      const spelled = `${name}/${spec.name}:${channel}`;
      return { model: name, layer: spec.name, depth: layer, channel, size: spec.size, name: spelled };
    };
    const partner = ([layer, channel, score, chance, rank, half0, half1, p], i) => ({
      unit: unit(i + 1, layer, channel),
      score,
      null: chance,
      rank,
      p,
      halves: half0 === null ? null : [half0, half1],
    });
    const rows = answer.rows.map(([layer, channel, concept, above, partners]) =>
      described([{ unit: unit(0, layer, channel) }, ...partners.map(partner)], concept, above),
    );
    return {
      ...answer,
      rows,
      byKey: new Map(rows.map((row) => [row.key, row])),
      concepts: new Map(),
    };
  }

  function described(cells, concept, above) {
    const partners = cells.slice(1);
    const nulls = partners.map((cell) => cell.null).filter((value) => value !== null);
    const text = cells.map(({ unit }) => `${unit.name} ${unit.size[0]}x${unit.size[1]}`);
    return {
      key: cells[0].unit.name,
      cells,
      concept,
      above,
      score: Math.min(...partners.map((cell) => cell.score)),
      null: nulls.length ? Math.min(...nulls) : null,
      text: text.join(" ").toLowerCase(),
    };
  }

  /** Put the neurons into other concepts, as the server grouped them. */
  function regroup(gallery, concepts) {
    for (const row of gallery.rows) row.concept = -1;
    gallery.concepts = new Map();
    for (const concept of concepts) {
      const members = concept.members.map((at) => gallery.rows[at]);
      for (const row of members) row.concept = concept.number;
      const scores = members.map((row) => row.score);
      gallery.concepts.set(concept.number, {
        ...concept,
        members: members.map((row) => row.key),
        medoid: gallery.rows[concept.medoid].key,
        score: scores.reduce((sum, v) => sum + v, 0) / scores.length,
        classes: [],
      });
    }
  }

  /** What a concept is called: a person's own name for it wins over its words. */
  function conceptName(concept, names) {
    if (!concept) return "";
    const own = [concept.medoid, ...concept.members].find((key) => names[key]);
    return own === undefined ? (concept.label?.text ?? "") : names[own];
  }

  /** "16x16" of a layer's maps. */
  const sizeOf = (size) => `${size[0]}x${size[1]}`;

  /** Whether a neuron's unit lies in the chosen layers of a model and has maps of a size. */
  function layersPass(row, state) {
    if (state.model === "" && state.size === "") return true;
    const low = state.from === "" ? -Infinity : Number(state.from);
    const high = state.to === "" ? Infinity : Number(state.to);
    return row.cells.some(({ unit }) => {
      if (state.size !== "" && sizeOf(unit.size) !== state.size) return false;
      if (state.model === "") return true;
      return unit.model === state.model && unit.depth >= low && unit.depth <= high;
    });
  }

  /** The rows that the selection's filters leave, best first; where a place in the picture was
      marked (`here`: row key → one number a model), most active first.

      `names` are what a person called neurons and concepts: {stars, concepts}. */
  function passing(gallery, state, names, here) {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    const lowest = state.lowest === "" ? -1 : Number(state.lowest);
    const called = new Map(
      [...gallery.concepts.values()].map((concept) => [
        concept.number,
        `${conceptName(concept, names.concepts)} ${concept.label?.text ?? ""}`.toLowerCase(),
      ]),
    );
    const named = (row, word) =>
      names.stars[row.key]?.toLowerCase().includes(word) || called.get(row.concept)?.includes(word);
    const grouped = (row) =>
      state.concept === "" ||
      (state.concept === "each"
        ? !gallery.concepts.size || gallery.concepts.get(row.concept)?.medoid === row.key
        : row.concept === Number(state.concept));
    const passes = (row) =>
      row.score >= lowest &&
      (!state.stars || row.key in names.stars) &&
      (!here || here.has(row.key)) &&
      (!state.above || row.above) &&
      grouped(row) &&
      layersPass(row, state) &&
      words.every((word) => row.text.includes(word) || named(row, word));
    const left = gallery.rows.filter(passes);
    if (!here) return left;
    const sum = (row) => here.get(row.key).reduce((total, v) => total + v, 0);
    return left.sort((a, b) => sum(b) - sum(a));
  }

  /** Counts for the lists of filters: model → depth → neurons, and concepts with their neurons. */
  function tally(rows) {
    const layers = new Map();
    const concepts = new Map();
    for (const row of rows) {
      for (const { unit } of row.cells) {
        if (!layers.has(unit.model)) layers.set(unit.model, new Map());
        const depths = layers.get(unit.model);
        depths.set(unit.depth, (depths.get(unit.depth) ?? 0) + 1);
      }
      if (row.concept >= 0) concepts.set(row.concept, (concepts.get(row.concept) ?? 0) + 1);
    }
    return { layers, concepts: [...concepts].sort((a, b) => b[1] - a[1] || a[0] - b[0]) };
  }

  const COLUMNS = [
    ...["anchor", "partner", "score", "null", "rank", "half0", "half1"],
    ...["score_min", "above_null", "concept", "concept_name", "favourite"],
  ];

  /** One line a pair, with a first line of names. */
  function pairTable(rows, gallery, names) {
    const line = (row, cell) => [
      ...[row.key, cell.unit.name, cell.score, cell.null, cell.rank],
      ...[cell.halves?.[0], cell.halves?.[1], row.score, row.above, row.concept],
      conceptName(gallery.concepts.get(row.concept), names.concepts),
      row.key in names.stars ? names.stars[row.key] || "yes" : "",
    ];
    return [COLUMNS, ...rows.flatMap((row) => row.cells.slice(1).map((cell) => line(row, cell)))];
  }

  Object.assign(window.rosetta, {
    neurons: { unfolded, regroup, conceptName, sizeOf, passing, tally, pairTable },
  });
})();
