/* Which picture, which neurons, how strongly. Publishes "edit-form" whenever a choice changes. */
const { h, on, put, get, call, latest, failure, explainTerms, maps } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const form = element.querySelector("form");
explainTerms(element);

let catalogue = { generators: [], results: [] };
let region = null;
let kept = null; // {recipe, label} of another picture
let listed = []; // units shown with a box each

const generator = () => catalogue.generators.find((m) => m.name === part("generator").value);
const chosen = () => form.querySelector("[name=edit-choice]:checked").value;
const numeric = (id) => (part(id).value.trim() === "" ? null : Number(part(id).value));
const ticked = () => [...part("units").querySelectorAll("input:checked")].map((box) => box.value);

/* --- models and results --- */

async function load() {
  try {
    catalogue = await call(server.catalogue);
  } catch (error) {
    part("terms").replaceChildren(failure(error));
    return;
  }
  const before = get("edit-view")?.generator ?? part("generator").value;
  const ready = catalogue.generators.filter((m) => m.state === "ready");
  const rest = catalogue.generators.filter((m) => m.state !== "ready");
  part("generator").replaceChildren(
    h("optgroup", { label: "Ready" }, ...ready.map((m) => h("option", { value: m.name }, m.title))),
    h("optgroup", { label: "Not here yet" }, ...rest.map((m) => h("option", { value: m.name, disabled: true }, m.title))));
  if (ready.some((m) => m.name === before)) part("generator").value = before;
  else if (ready.some((m) => m.name === catalogue.usual)) part("generator").value = catalogue.usual;
  describe();
  if (!element.dataset.filled && ready.length && !get("edit-adopt")) open();
  element.dataset.filled = ready.length ? "yes" : "";
}

function describe() {
  const model = generator();
  if (!model) return;
  part("terms").textContent = `${model.licence}. ${model.terms}`;
  part("class-field").hidden = !model.classes;
  part("class").max = Math.max(0, model.classes - 1);
  part("layers-field").hidden = part("layers-said").hidden = !model.spaces.includes("w+");
  part("space-field").hidden = model.spaces.length < 2;
  const space = part("space").value;
  part("space").replaceChildren(h("option", { value: "" }, "Usual"), ...model.spaces.map((space) => h("option", { value: space }, space)));
  part("space").value = model.spaces.includes(space) ? space : "";
  const mine = catalogue.results.filter((r) => r.generator === model.name);
  part("result").replaceChildren(...mine.map((r) => h("option", { value: r.id }, r.title)));
  for (const value of ["matched", "concept"]) {
    const box = form.querySelector(`[value=${value}]`);
    box.disabled = !mine.length;
    const small = box.closest("label").querySelector("small");
    small.dataset.words ??= small.textContent;
    small.textContent = mine.length ? small.dataset.words : "No result of this generator yet: run a match first";
    if (box.checked && box.disabled) form.querySelector("[value=usual]").checked = true;
  }
  changed();
}

/* --- the form's values --- */

function choice() {
  const kind = chosen();
  return {
    kind, result: part("result").value, concept: Number(part("concept").value || -1),
    units: kind === "units" ? ticked() : [],
  };
}

function settings() {
  const given = Object.fromEntries(["steps", "restarts", "pull", "stages"].map((id) => [id, numeric(id)]));
  const layers = part("layers-field").hidden ? "" : part("layers").value;
  given.coarse_first = layers ? layers === "first" : null;
  const early = part("early").value;
  given.early = early ? early === "early" : null;
  given.space = part("space").value || null;
  return Object.values(given).some((v) => v !== null) ? given : null;
}

function changed() {
  const kind = chosen();
  part("result-row").hidden = kind !== "matched" && kind !== "concept";
  part("concept-field").hidden = kind !== "concept";
  part("strength-said").textContent = `×${Number(part("strength").value).toFixed(1)}`;
  const from = sourceKind();
  part("blend").disabled = from === "none" || (from === "seed" && numeric("source") === null);
  part("blend-said").textContent = `${part("blend").value} %`;
  put("edit-form", {
    choice: choice(), settings: settings(),
    source_seed: from === "seed" ? numeric("source") : null,
    source_recipe: from === "kept" ? kept?.recipe ?? null : null,
  });
}

function open(seed = null) {
  if (seed !== null) part("seed").value = seed;
  put("edit-open", { generator: part("generator").value, seed: numeric("seed") ?? 0, class: generator()?.classes ? numeric("class") ?? 0 : null });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open();
});
part("another").addEventListener("click", () => open(Math.floor(Math.random() * 1e6)));
part("generator").addEventListener("change", () => {
  describe();
  open();
});
form.addEventListener("input", changed);
part("result").addEventListener("change", loadConcepts);
// What another tab or a recipe opened may be of another generator.
on("edit-view", (view) => {
  if (!view || view.generator === generator()?.name) return;
  if (!catalogue.generators.some((m) => m.name === view.generator)) return;
  part("generator").value = view.generator;
  describe();
});

/* --- neurons --- */

async function loadConcepts() {
  if (chosen() !== "concept" || !part("result").value) return;
  const found = await call(server.concepts, { result: part("result").value });
  part("concept").replaceChildren(...found.map((c) => h("option", { value: c.number }, `Concept ${c.number + 1} (${c.size})`)));
  changed();
}

const askUnits = latest((payload) => call(server.units, payload));

async function listUnits(kind, point = { x: 0.5, y: 0.5 }) {
  const page = get("edit-view")?.page;
  if (!page) return;
  part("units-said").textContent = "Looking at the neurons…";
  try {
    const got = await askUnits({ page, choice: { ...choice(), kind, ...point } });
    if (!got) return;
    listed = got.units;
    const bytes = maps.bytes(got.maps);
    part("units").replaceChildren(...got.units.map((name, i) => {
      const canvas = h("canvas", { width: 16, height: 16 });
      maps.paint(canvas, bytes.subarray(256 * i, 256 * (i + 1)), 16, 16, { ...get("view"), mode: "raw", threshold: 0 });
      return h("label.unit", { title: name }, h("input", { type: "checkbox", value: name, checked: true }), canvas, h("span", {}, name.split("/").slice(1).join("/")));
    }));
    part("units-said").textContent = got.total > got.units.length
      ? `The first ${got.units.length} of ${got.total} neurons, as they see this picture.` : `${got.total} neurons, as they see this picture.`;
    changed();
  } catch (error) {
    part("units").replaceChildren();
    part("units-said").textContent = `${error.message} ${error.hint ?? ""}`;
  }
}

part("choices").addEventListener("change", async () => {
  await loadConcepts();
  const kind = chosen();
  if (kind !== "units") part("units").replaceChildren();
  part("units-said").textContent = "";
  if (kind === "matched" || kind === "concept") listUnits(kind);
  if (kind === "active") part("units-said").textContent = "Press in the picture: the neurons there are moved.";
  if (kind === "units" && !listed.length) listUnits("active");
});
part("concept").addEventListener("change", () => listUnits("concept"));
part("units").addEventListener("change", () => {
  form.querySelector("[name=edit-choice][value=units]").checked = true;
  changed();
});
// A click in the picture, without dragging, asks who is active there.
on("edit-point", (point) => {
  if (!point || !["active", "units"].includes(chosen())) return;
  listUnits("active", point);
});

/* --- another picture --- */

const sourceKind = () => form.querySelector("[name=edit-source]:checked").value;

function choose(kind) {
  const box = form.querySelector(`[name=edit-source][value=${kind}]`);
  box.disabled = false;
  box.checked = true;
  changed();
}

function keep(recipe, label) {
  kept = { recipe, label };
  part("kept-name").textContent = label;
  part("kept-said").textContent = `A picture of ${recipe.generator}`;
  part("source-wrong").hidden = true;
  choose("kept");
}

function refuse(text) {
  part("source-wrong").textContent = text;
  part("source-wrong").hidden = false;
}

on("edit-source", (found) => found && keep(found.recipe, found.label));
part("source").addEventListener("input", () => choose(numeric("source") === null ? "none" : "seed"));
part("source-file").addEventListener("change", async () => {
  const [file] = part("source-file").files;
  part("source-file").value = "";
  if (!file) return;
  if (file.type.startsWith("image/")) {
    refuse("A photo has no neurons of this generator to copy: open it in the Invert tab, press Open in Edit there, then Use as source.");
    return;
  }
  try {
    const recipe = file.size > 20e6 ? null : JSON.parse(await file.text());
    if (recipe?.kind !== "rosetta-edit") throw new SyntaxError("another kind of file");
    keep(recipe, file.name);
  } catch {
    refuse("This file is no recipe: choose one that was downloaded here.");
  }
});
part("blend").addEventListener("change", () => put("edit-ask", { edits: [{ kind: "blend", share: Number(part("blend").value) / 100 }], place: { x: 0.5, y: 0.5 } }));

/* --- strength --- */

on("edit-region", (corners) => {
  region = corners ?? null;
  part("region-said").textContent = region ? "Inside the region that is drawn."
    : "Everywhere. Draw a box or a lasso to change a part only.";
});

function scale(factor) {
  const xs = region?.map(([x]) => x) ?? [0.5];
  const ys = region?.map(([, y]) => y) ?? [0.5];
  const middle = { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
  put("edit-ask", { edits: [{ kind: "scale", factor, region }], place: middle });
  put("edit-region-clear", performance.now());
}
part("apply").addEventListener("click", () => scale(Number(part("strength").value)));
part("remove").addEventListener("click", () => scale(0));

on("readiness", () => load());
on("models-changed", () => load());
on("results-changed", () => load());
load();
