/* What the large view says about the chosen neuron as a whole: better than chance or not, and its
   concept with its words, its classes and a person's own name for it. */
(() => {
  "use strict";
  const { h, get, select, icon, format, explain, neurons, conceptNames, setConceptName } =
    window.rosetta;

  /** Whether the neuron is better than chance, with the numbers that say so. */
  function verdict(row) {
    const { threshold } = get("gallery");
    const [kind, mark, words, verb] = row.above
      ? ["good", "check", "Above the null", "is"]
      : ["warn", "warn", "No better than chance", "is not"];
    const pill = h(`button.r-pill.${kind}`, { type: "button" }, icon(mark), words);
    return explain(
      pill,
      `Its weakest score, ${format.r(row.score)}, ${verb} above ${format.r(threshold)}, ` +
        "the threshold that only 5 % of chance matches reach.",
    );
  }

  /** The concept of a neuron, or undefined. */
  const conceptOf = (row) => get("gallery")?.concepts?.get(row.concept);

  /** Its name: a person's own, else its words. */
  function conceptText(row) {
    const gallery = get("gallery");
    return neurons.conceptName(conceptOf(row), conceptNames(gallery?.result));
  }

  const plural = (n, word) => `${format.count(n)} ${word}${n === 1 ? "" : "s"}`;

  /** What is known about a concept, in sentences. */
  function story(concept) {
    if (!concept) return "Show only this concept.";
    const { label, members, agreement, score } = concept;
    const lines = [`${plural(members.length, "neuron")}, mean weakest r ${format.r(score)}`];
    if (agreement !== null) lines.push(`their maps agree with r ${format.r(agreement)}`);
    const told = [`${lines.join("; ")}.`, `Its most typical neuron, the medoid, is ${concept.medoid}.`];
    if (label) {
      const where = label.place ? `at the ${label.place}` : "in places that change with the image";
      told.push(`Fires ${where}, on ${format.share(label.covers)} of the picture.`);
      if (label.colour) told.push(`Covers ${label.colour}, ${label.against}.`);
    }
    for (const [backbone, name, r, chance] of concept.classes) {
      const by = `r ${format.r(r)}; shuffled images reach ${format.r(chance)}`;
      told.push(`Goes with “${name}” in ${backbone} (${by}).`);
    }
    return told.join(" ");
  }

  /** A button that shows only the neuron's concept, and one that names it. */
  function conceptPill(row, rename) {
    if (row.concept < 0) return [];
    const shown = () => get("state").concept === String(row.concept);
    const onclick = () => select({ concept: shown() ? "" : row.concept });
    const concept = conceptOf(row);
    const words = conceptText(row);
    const text = `Concept ${row.concept + 1}${words ? `: ${words}` : ""}`;
    const favours = (concept?.classes ?? []).map(([, name]) => name);
    const classes = favours.length
      ? h("span.r-pill", {}, icon("target"), `like ${[...new Set(favours)].slice(0, 2).join(", ")}`)
      : null;
    return [
      explain(h("button.r-pill.accent", { type: "button", onclick }, text), story(concept)),
      concept &&
        h(
          "button.r-pill.rename",
          { type: "button", "aria-label": "Name this concept", title: "Name this concept", onclick: rename },
          icon("pencil"),
        ),
      classes && explain(classes, story(concept)),
    ];
  }

  /** Keep a person's name for a neuron's concept, under the medoid; an empty one takes it away. */
  function nameConcept(row, name) {
    const concept = conceptOf(row);
    if (!concept) return;
    const { result } = get("gallery");
    for (const key of concept.members) {
      if (conceptNames(result)[key]) setConceptName(result, key, null);
    }
    if (name) setConceptName(result, concept.medoid, name);
  }

  Object.assign(window.rosetta, { concepts: { verdict, conceptPill, conceptText, nameConcept } });
})();
