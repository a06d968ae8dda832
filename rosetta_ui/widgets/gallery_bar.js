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
  setFavourite,
  save,
  csv,
  neurons,
} = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
explainTerms(element);
element.querySelector(".glass").append(icon("search"));

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

let loading = 0; // questions for neurons that are on their way

const fetchNeurons = latest((payload) => call(server.neurons, payload));

async function loadNeurons() {
  const state = get("state");
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
  const state = get("state");
  check("score", gallery.score);
  const { layers, concepts } = neurons.tally(gallery.rows);
  part("layer").replaceChildren(
    h("option", { value: "" }, "All layers"),
    ...gallery.models.map((model) =>
      h(
        "optgroup",
        { label: model.name },
        ...model.layers
          .map((l) => [`${model.name}/${l.name}`, l.name])
          .filter(([key]) => layers.has(key))
          .map(([key, name]) => h("option", { value: key }, `${name} (${layers.get(key)})`)),
      ),
    ),
  );
  part("concept").replaceChildren(
    h("option", { value: "" }, "All concepts"),
    ...concepts.map(([c, n]) => h("option", { value: String(c) }, `Concept ${c + 1} (${n})`)),
  );
  part("concept").hidden = concepts.length === 0;
  part("layer").value = layers.has(state.layer) ? state.layer : "";
  const known = concepts.some(([c]) => String(c) === state.concept);
  part("concept").value = known ? state.concept : "";
}

/* --- filters: all in the page --- */

const FILTERS = ["find", "lowest", "above", "concept", "layer", "stars"];

let active = null; // at the chosen point: {asked, values: row key → one number a model}

function filter() {
  const gallery = get("gallery");
  if (!gallery || gallery.failed) return;
  const state = get("state");
  const here = state.point && active?.asked === pointKey() ? active.values : null;
  const rows = neurons.passing(gallery.rows, state, favourites(gallery.result), here);
  put("active", here);
  put("shown", rows);
  count(rows.length, gallery);
}

function count(shown, gallery) {
  const total = gallery.rows.length;
  const some =
    shown === total ? format.count(total) : `${format.count(shown)} of ${format.count(total)}`;
  const chance =
    gallery.null_rosetta === null ? "" : `, ${format.count(gallery.null_rosetta)} by chance`;
  part("count").replaceChildren(
    h("strong", {}, some),
    ` Rosetta Neuron${total === 1 ? "" : "s"}${chance}`,
  );
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

/* --- export --- */

const stem = () =>
  `rosetta-${get("state")
    .result.replace(/[^\w-]+/g, "_")
    .slice(0, 40)}`;
const closeMenu = () => {
  part("export").open = false;
};

part("json").addEventListener("click", async () => {
  closeMenu();
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  try {
    const answer = await call(server.dictionary, { result: gallery.result, ...gallery.selection });
    save(
      `${stem()}.json`,
      JSON.stringify({ ...answer, favourites: favourites(gallery.result) }, null, 1),
      "application/json",
    );
  } catch (error) {
    part("count").textContent = error.message;
  }
});

part("csv").addEventListener("click", () => {
  closeMenu();
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  const table = neurons.pairTable(get("shown") ?? [], favourites(gallery.result));
  save(`${stem()}.csv`, csv(table), "text/csv");
});

part("png").addEventListener("click", () => {
  closeMenu();
  put("picture-wanted", Date.now());
});

for (const button of element.querySelectorAll("[data-file]")) {
  button.addEventListener("click", () => keepFile(button.dataset.file));
}

/** Files that the app makes: a page, a film, a table. */
async function keepFile(kind) {
  closeMenu();
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  const before = part("count").textContent;
  setText("count", "Making the file…");
  try {
    const { name, mime, data } = await call(server.file, {
      result: gallery.result,
      ...gallery.selection,
      kind,
      neuron: kind === "webp" ? get("state").neuron : "",
      names: favourites(gallery.result),
    });
    save(name, new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type: mime }));
    if (part("count").textContent === "Making the file…") setText("count", before);
  } catch (error) {
    setText("count", [error.message, error.hint].filter(Boolean).join(" "));
  }
}

part("read").addEventListener("click", () => {
  closeMenu();
  part("names").click();
});

part("names").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) setText("count", await readNames(file));
});

const MOST_BYTES = 20e6; // a dictionary of 5,000 neurons has 5 MB

/** Favourites and names out of an exported dictionary; says how many were taken over. */
async function readNames(file) {
  const gallery = get("gallery");
  if (!gallery?.byKey) return "Open a result first: names belong to its neurons.";
  let given;
  try {
    given = file.size > MOST_BYTES ? null : JSON.parse(await file.text());
  } catch {
    given = null;
  }
  if (given?.schema !== 1 || !Array.isArray(given.neurons)) {
    return "This is no dictionary: choose a file from Export, All neurons, JSON.";
  }
  const named = Object.entries(given.favourites ?? {}).filter(
    ([key, name]) =>
      typeof name === "string" && name.length <= 60 && /^[^/:]+\/[^:]+:\d+$/.test(key),
  );
  const known = named.filter(([key]) => gallery.byKey.has(key));
  known.forEach(([key, name]) => setFavourite(gallery.result, key, name));
  const rest = named.length - known.length;
  return `${known.length} favourites read${rest ? `, ${rest} are no neurons here` : ""}.`;
}

addEventListener("pointerdown", (event) => !part("export").contains(event.target) && closeMenu());

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
part("layer").addEventListener("change", (e) => select({ layer: chosen(e) }));
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
  part("layer").value = state.layer;
  part("concept").value = state.concept;
}

on("state", (state, changed) => {
  showState(state);
  if (["result", "rule", "k", "score"].some((key) => changed.has(key))) loadNeurons();
  else if (changed.has("point") || (state.point && changed.has("pin"))) loadActive();
  else if (FILTERS.some((key) => changed.has(key))) filter();
});

on("favourites", () => {
  const n = Object.keys(favourites(get("state").result)).length;
  setText("stars-count", n ? String(n) : "");
  if (get("state").stars) filter();
});

/* --- results --- */

function optionOf(info) {
  return h("option", { value: info.id }, info.title);
}

async function loadResults() {
  try {
    const results = await call(server.results);
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
    }
  } catch (error) {
    put("gallery", { failed: error });
  }
}

on("results-changed", loadResults);
if (get("results-changed") === undefined) loadResults();
