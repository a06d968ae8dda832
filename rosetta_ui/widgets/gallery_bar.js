/* Which result, which neurons and how their maps are drawn. Publishes two topics:
   "gallery" {result, models, rows, selection, …} when neurons arrive, and "shown" (the rows that the
   filters leave, in order) whenever a filter changes, which needs no request. */
const {
  h,
  on,
  put,
  get,
  select,
  call,
  latest,
  debounce,
  format,
  icon,
  setView,
  explainTerms,
  favourites,
  conceptNames,
  neurons,
  layerFilter,
  exportMenu,
  term,
} = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
explainTerms(element);
element.querySelector(".glass").append(icon("search"));
const layers = layerFilter(part);
const GROUPING = 0.7; // the server's own threshold, which the address leaves out
const grouping = (state) => Number(state.grouping || GROUPING);

const radios = (id) => [...part(id).querySelectorAll("input")];
const check = (id, value) =>
  radios(id).forEach((r) => {
    r.checked = r.value === value;
  });
const setText = (id, text) => {
  if (part(id).textContent !== text) part(id).textContent = text;
};

/* --- loading --- */

const asked = (state) => ({
  result: state.result,
  rule: state.rule,
  k: Number(state.k),
  score: state.score,
});

let results = [];
let loading = 0; // questions for neurons that are on their way

const fetchNeurons = latest((payload) => call(server.neurons, payload));

/** The only selection that an imported dictionary can answer; undefined for other results. */
const fixed = () => results.find((info) => info.id === get("state").result)?.fixed ?? undefined;

async function loadNeurons() {
  const state = get("state");
  const only = fixed();
  if (only && (only.rule !== state.rule || only.k !== Number(state.k) || only.score !== state.score)) {
    select({ rule: only.rule, k: only.k, score: only.score });
    return;
  }
  put("gallery", null);
  put("shown", null);
  setText("count", "Loading…");
  loading += 1;
  try {
    const answer = await fetchNeurons(asked(state));
    if (!answer) return;
    put("gallery", neurons.unfolded(answer));
    describe(get("gallery"));
    setText("stars-count", String(Object.keys(favourites(answer.result)).length || ""));
    loadActive();
    loadConcepts();
  } catch (error) {
    setText("count", "");
    put("gallery", { failed: error });
    put("shown", []);
  } finally {
    loading -= 1;
  }
}

/** Fill the lists of layers and concepts with what this result has. */
function describe(gallery) {
  check("score", gallery.score);
  const tally = neurons.tally(gallery.rows);
  layers.fill(gallery, tally);
  layers.show(get("state"));
  listConcepts(gallery, tally.concepts);
  for (const control of [part("rule"), part("k"), part("grouping"), ...radios("score")]) {
    control.disabled = Boolean(fixed());
  }
}

function listConcepts(gallery, concepts) {
  const names = conceptNames(gallery.result);
  const option = ([number, n]) => {
    const words = neurons.conceptName(gallery.concepts.get(number), names);
    const text = `Concept ${number + 1} (${n})${words ? `: ${words}` : ""}`;
    return h("option", { value: String(number) }, text);
  };
  part("concept").replaceChildren(
    h("option", { value: "" }, `All concepts (${concepts.length})`),
    h("option", { value: "each" }, "One neuron of each concept"),
    ...concepts.map(option),
  );
  part("concept").hidden = concepts.length === 0;
  part("concept").value = get("state").concept;
}

/* --- concepts: grouped by the server at the slider's threshold, then named --- */

const askConcepts = latest((payload) => call(server.concepts, payload));
const askClasses = latest((payload) => call(server.classes, payload));

async function loadConcepts(refilter = false) {
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  const payload = {
    result: gallery.result,
    ...gallery.selection,
    grouping: grouping(get("state")),
  };
  try {
    const concepts = await askConcepts(payload);
    if (!concepts || gallery !== get("gallery")) return;
    neurons.regroup(gallery, concepts);
    tellConcepts(gallery);
    // The rows themselves change only where a filter looks at concepts.
    if (refilter || get("state").concept || get("state").find) filter();
    loadClasses(gallery, payload);
  } catch (error) {
    setText("count", error.message);
  }
}

/** The classes come later: classifiers look at the pictures first. */
async function loadClasses(gallery, payload) {
  try {
    const classes = await askClasses(payload);
    if (!classes || gallery !== get("gallery")) return;
    for (const [number, favours] of Object.entries(classes)) {
      const concept = gallery.concepts.get(Number(number));
      if (concept) concept.classes = favours;
    }
    put("concepts", gallery.concepts);
  } catch (error) {
    gallery.classless = error.message; // said where a concept's classes would stand
  }
}

function tellConcepts(gallery) {
  listConcepts(gallery, neurons.tally(gallery.rows).concepts);
  put("concepts", gallery.concepts);
}

/* --- filters: all in the page --- */

const FILTERS = ["find", "lowest", "above", "concept", "model", "from", "to", "size", "stars"];

/** What a person called neurons and concepts of a result. */
const namesOf = (result) => ({ stars: favourites(result), concepts: conceptNames(result) });

let active = null; // at the chosen point: {asked, values: row key → one number a model}

function filter() {
  const gallery = get("gallery");
  if (!gallery || gallery.failed) return;
  const state = get("state");
  const here = state.point && active?.asked === pointKey() ? active.values : null;
  const rows = neurons.passing(gallery, state, namesOf(gallery.result), here);
  put("active", here);
  put("shown", rows);
  count(rows.length, gallery);
}

function count(shown, gallery) {
  const total = gallery.rows.length;
  const some =
    shown === total ? format.count(total) : `${format.count(shown)} of ${format.count(total)}`;
  const chance =
    gallery.null_rosetta === null
      ? []
      : [`, ${format.count(gallery.null_rosetta)} `, term("by chance")];
  part("count").replaceChildren(
    h("strong", {}, some),
    " ",
    term("Rosetta Neuron", `Rosetta Neuron${total === 1 ? "" : "s"}`),
    ...chance,
  );
  part("said").textContent = fixed() ? "Imported: no tables, pictures or maps" : "";
  part("clear").hidden = shown === total && FILTERS.every((key) => get("state")[key] === "");
}

/* --- a point or box in the picture: the neurons most active there --- */

const pointKey = () =>
  JSON.stringify(["result", "rule", "k", "score", "pin", "point"].map((key) => get("state")[key]));
const askActive = latest((payload) => call(server.active, payload));

async function loadActive() {
  const state = get("state");
  const gallery = get("gallery");
  part("point").hidden = !state.point;
  part("point").replaceChildren(
    icon("target"),
    `Most active at the marked place in image ${state.pin}`,
    icon("cross"),
  );
  if (!state.point || !gallery?.rows) {
    filter();
    return;
  }
  const key = pointKey();
  try {
    const answer = await askActive({
      result: gallery.result,
      ...gallery.selection,
      image: Number(state.pin),
      box: state.point.split(",").map(Number),
    });
    if (!answer) return;
    active = {
      asked: key,
      values: new Map(answer.anchors.map((key, i) => [key, answer.values[i]])),
    };
  } catch (error) {
    part("point").replaceChildren(icon("warn"), error.message);
  }
  filter();
}

part("point").addEventListener("click", () => select({ point: "", pin: "" }));

exportMenu(element, {
  file: server.file,
  take: server.take,
  say: (text) => setText("count", text),
  said: () => part("count").textContent,
  recount: () => get("gallery")?.rows && count((get("shown") ?? []).length, get("gallery")),
  grouping: () => grouping(get("state")),
});

addEventListener("pointerdown", (event) => {
  for (const menu of [part("export"), part("layers")]) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

/* --- controls --- */

const chosen = (event) => event.target.value;
part("result").addEventListener("change", (e) => select({ result: chosen(e) }));
part("rule").addEventListener("change", (e) => select({ rule: chosen(e) }));
part("k").addEventListener("change", (e) => {
  const k = Math.round(Number(chosen(e)));
  if (k >= 1 && k <= 32) select({ k });
  else e.target.value = get("state").k;
});
part("score").addEventListener("change", (e) => select({ score: chosen(e) }));
part("find").addEventListener(
  "input",
  debounce((e) => select({ find: part("find").value }), 120),
);
part("lowest").addEventListener("input", (e) =>
  select({ lowest: Number(chosen(e)) ? chosen(e) : "" }),
);
part("above").addEventListener("change", (e) => select({ above: e.target.checked ? "1" : "" }));
part("stars").addEventListener("change", (e) => select({ stars: e.target.checked ? "1" : "" }));
part("grouping").addEventListener(
  "input",
  debounce(() => {
    const chosen = Number(part("grouping").value);
    select({ grouping: chosen === GROUPING ? "" : chosen });
  }, 30),
);
part("concept").addEventListener("change", (e) => select({ concept: chosen(e) }));
part("clear").addEventListener("click", () =>
  select(Object.fromEntries(FILTERS.map((key) => [key, ""]))),
);

part("fold").addEventListener("click", () => {
  const folded = element.querySelector(".bar").classList.toggle("folded"); // only narrow screens fold
  part("fold").setAttribute("aria-expanded", String(!folded));
});

part("mode").addEventListener("change", (e) => setView({ mode: chosen(e) }));
part("opacity").addEventListener("input", (e) => setView({ opacity: Number(chosen(e)) }));
part("threshold").addEventListener("input", (e) => setView({ threshold: Number(chosen(e)) }));
part("colours").addEventListener("change", (e) => setView({ colours: chosen(e) }));

on("view", (view) => {
  check("mode", view.mode);
  part("opacity").value = view.opacity;
  part("opacity").disabled = view.mode === "raw";
  part("threshold").value = view.threshold;
  part("colours").value = view.colours;
  setText("opacity-text", `${Math.round(view.opacity * 100)} %`);
  setText("threshold-text", `${Math.round(view.threshold * 100)} %`);
});

function showState(state) {
  if (document.activeElement !== part("find")) part("find").value = state.find;
  part("rule").value = state.rule;
  part("k").value = state.k;
  part("lowest").value = state.lowest || 0;
  part("above").checked = state.above === "1";
  part("stars").checked = state.stars === "1";
  setText("lowest-text", state.lowest ? Number(state.lowest).toFixed(2) : "any");
  if (part("result").value !== state.result) part("result").value = state.result;
  if (document.activeElement !== part("grouping")) part("grouping").value = grouping(state);
  setText("grouping-text", grouping(state).toFixed(2));
  part("concept").value = state.concept;
  if (get("gallery")?.rows) layers.show(state);
}

on("state", (state, changed) => {
  showState(state);
  if (["result", "rule", "k", "score"].some((key) => changed.has(key))) loadNeurons();
  else if (changed.has("grouping")) loadConcepts(true);
  else if (changed.has("point") || (state.point && changed.has("pin"))) loadActive();
  else if (FILTERS.some((key) => changed.has(key))) filter();
});

on("favourites", () => {
  const n = Object.keys(favourites(get("state").result)).length;
  setText("stars-count", n ? String(n) : "");
  if (get("state").stars) filter();
});

on("concept-names", () => {
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  listConcepts(gallery, neurons.tally(gallery.rows).concepts);
  if (get("state").find) filter();
});

/* --- results --- */

function optionOf(info) {
  return h("option", { value: info.id }, info.title);
}

async function loadResults() {
  try {
    results = await call(server.results);
    const bundled = results.filter((info) => info.bundled).map(optionOf);
    const own = results.filter((info) => !info.bundled).map(optionOf);
    part("result").replaceChildren(
      ...(bundled.length ? [h("optgroup", { label: "Comes with the app" }, ...bundled)] : []),
      ...(own.length ? [h("optgroup", { label: "Matched here" }, ...own)] : []),
    );
    const state = get("state");
    if (!results.length) {
      part("result").replaceChildren(h("option", { value: "" }, "No result yet"));
      put("gallery", { empty: true });
      put("shown", []);
      setText("count", "");
    } else if (!state.result) {
      select({
        result: results[0].id,
        neuron: state.neuron,
        image: state.image,
        score: state.score,
      });
    } else {
      if (!results.some((info) => info.id === state.result)) {
        part("result").append(h("option", { value: state.result }, state.result));
      }
      part("result").value = state.result;
      if (!get("gallery") && !loading) loadNeurons();
      else if (get("gallery")?.rows) describe(get("gallery"));
    }
  } catch (error) {
    put("gallery", { failed: error });
  }
}

on("results-changed", loadResults);
if (get("results-changed") === undefined) loadResults();
