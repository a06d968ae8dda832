/* Neurons as the Gallery's widgets use them: unfolded from the short lists of the server, filtered
   and ranked in the page, and laid out as a table for a file. Pure: no element, no request. */
(() => {
  "use strict";

  /** Numbers of layers and channels become units; each row gets the text the search looks in. */
  function unfolded(answer) {
    const unit = (model, layer, channel) => {
      const { name, layers } = answer.models[model];
      const spec = layers[layer];
      const spelled = `${name}/${spec.name}:${channel}`;
      return { model: name, layer: spec.name, channel, size: spec.size, name: spelled };
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
    return { ...answer, rows, byKey: new Map(rows.map((row) => [row.key, row])) };
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

  const layerOf = (unit) => `${unit.model}/${unit.layer}`;

  /** The rows that the selection's filters leave, best first; where a place in the picture was
      marked (`here`: row key → one number a model), most active first. */
  function passing(rows, state, stars, here) {
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    const lowest = state.lowest === "" ? -1 : Number(state.lowest);
    const named = (row, word) => stars[row.key]?.toLowerCase().includes(word);
    const passes = (row) =>
      row.score >= lowest &&
      (!state.stars || row.key in stars) &&
      (!here || here.has(row.key)) &&
      (!state.above || row.above) &&
      (state.concept === "" || row.concept === Number(state.concept)) &&
      (state.layer === "" || row.cells.some((cell) => layerOf(cell.unit) === state.layer)) &&
      words.every((word) => row.text.includes(word) || named(row, word));
    const left = rows.filter(passes);
    if (!here) return left;
    const sum = (row) => here.get(row.key).reduce((total, v) => total + v, 0);
    return left.sort((a, b) => sum(b) - sum(a));
  }

  /** Counts for the lists of filters: layers (model/layer) and concepts, with their neurons. */
  function tally(rows) {
    const layers = new Map();
    const concepts = new Map();
    const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
    for (const row of rows) {
      for (const cell of row.cells) add(layers, layerOf(cell.unit));
      if (row.concept >= 0) add(concepts, row.concept);
    }
    return { layers, concepts: [...concepts].sort((a, b) => b[1] - a[1] || a[0] - b[0]) };
  }

  const COLUMNS = [
    ...["anchor", "partner", "score", "null", "rank", "half0", "half1"],
    ...["score_min", "above_null", "concept", "favourite"],
  ];

  /** One line a pair, with a first line of names. */
  function pairTable(rows, stars) {
    const line = (row, cell) => [
      ...[row.key, cell.unit.name, cell.score, cell.null, cell.rank],
      ...[cell.halves?.[0], cell.halves?.[1], row.score, row.above, row.concept],
      row.key in stars ? stars[row.key] || "yes" : "",
    ];
    return [COLUMNS, ...rows.flatMap((row) => row.cells.slice(1).map((cell) => line(row, cell)))];
  }

  Object.assign(window.rosetta, { neurons: { unfolded, passing, tally, pairTable } });
})();
