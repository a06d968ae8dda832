/* What guides and how hard: publishes "invert-generator" (the chosen one, with its examples) and, when
   the form is sent, "invert-ask" with everything but the picture. */
const { h, on, put, get, call, failure, explainTerms } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const form = element.querySelector("form");
explainTerms(element);

const WEIGHTS = ["neurons", "pixels", "perceptual"];
const NUMBERS = ["steps", "restarts", "pull", "learning_rate"];
const SWITCHES = ["coarse_first", "polish"];

let catalogue = { generators: [] };
let preset = null;
let busy = false;

const generator = () => catalogue.generators.find((m) => m.name === part("generator").value);
const numeric = (id) => (part(id).value.trim() === "" ? null : Number(part(id).value));
const ticked = () => [...part("backbones").querySelectorAll("input:checked")].map((box) => box.value);
const result = () => generator()?.results.find((r) => r.id === part("result").value);

/* --- models --- */

async function load() {
  try {
    catalogue = await call(server.catalogue);
  } catch (error) {
    part("terms").replaceChildren(failure(error));
    return;
  }
  const before = part("generator").value;
  const ready = catalogue.generators.filter((m) => m.state === "ready");
  const rest = catalogue.generators.filter((m) => m.state !== "ready");
  part("generator").replaceChildren(
    h("optgroup", { label: "Ready" }, ...ready.map((m) => h("option", { value: m.name }, m.title))),
    h("optgroup", { label: "Not here yet" }, ...rest.map((m) => h("option", { value: m.name, disabled: true }, m.title))));
  const kept = ready.some((m) => m.name === before);
  if (kept) part("generator").value = before;
  else part("generator").value = (ready.find((m) => m.name === catalogue.usual) ?? ready[0])?.name ?? "";
  describe(kept && element.dataset.filled === "yes");
  element.dataset.filled = ready.length ? "yes" : "";
}

/** Show what the chosen generator can do; `same` keeps what a person chose for it. */
function describe(same) {
  const model = generator();
  put("invert-generator", model ?? null);
  if (!model) {
    part("terms").textContent = "No generator is ready yet: see the Match tab for how to get one.";
    return changed();
  }
  part("terms").textContent = `${model.licence}. ${model.terms}`;
  part("class-field").hidden = !model.classes;
  part("class-range").textContent = model.classes ? `0 to ${model.classes - 1}; several, with commas, make a grid` : "";
  const before = part("result").value;
  part("result").replaceChildren(...model.results.map((r) => h("option", { value: r.id }, r.title)));
  if (model.results.some((r) => r.id === before)) part("result").value = before;
  part("result-field").hidden = model.results.length < 2;
  part("no-pairs").hidden = model.results.length > 0;
  if (!same || part("result").value !== before) backbones();
  if (!same) part("space").replaceChildren(...model.spaces.map((space) => h("option", { value: space }, space)));
  if (!same || !before !== !model.results.length) presets(); // a first match lets neurons guide
  changed();
}

function backbones() {
  part("backbones").replaceChildren(...(result()?.backbones ?? []).map((name) =>
    h("label.r-check", { title: name }, h("input", { type: "checkbox", value: name, checked: true }), h("span", {}, name))));
}

/* --- presets and values --- */

const needsPairs = (p) => !p.weights.pixels && !p.weights.perceptual;

function presets() {
  const { presets: all, results } = generator();
  const usable = all.filter((p) => results.length || !needsPairs(p));
  const chosen = usable.find((p) => p.name === preset?.name) ?? usable[0];
  part("presets").replaceChildren(...all.map((p) =>
    h("label.choice", { title: usable.includes(p) ? "" : "Needs a match of this generator." },
      h("input", { type: "radio", name: "invert-preset", value: p.name, checked: p === chosen, disabled: !usable.includes(p), onchange: () => fill(p) }),
      h("span", {}, h("b", {}, p.title), h("small", {}, p.about)))));
  fill(chosen);
}

function fill(chosen) {
  preset = chosen;
  for (const id of WEIGHTS) part(id).value = chosen.weights[id];
  if (!generator().results.length) part("neurons").value = 0;
  for (const id of [...NUMBERS, "space", "start"]) part(id).value = chosen.settings[id];
  for (const id of SWITCHES) part(id).checked = chosen.settings[id];
  changed();
}

function asked() {
  return {
    generator: part("generator").value,
    preset: preset?.name ?? "",
    weights: Object.fromEntries(WEIGHTS.map((id) => [id, numeric(id)])),
    backbones: ticked(),
    result: part("result").value,
    settings: {
      ...Object.fromEntries(NUMBERS.map((id) => [id, numeric(id)])),
      space: part("space").value, start: part("start").value,
      coarse_first: part("coarse_first").checked && part("space").value === "w+", polish: part("polish").checked, plain: preset?.settings.plain,
    },
    classes: generator()?.classes ? part("classes").value : "",
    seed: numeric("seed"),
  };
}

/** Why it cannot start, or an empty text. */
function obstacle() {
  const model = generator();
  if (!model) return "Waiting for a generator.";
  const target = get("invert-target");
  if (!target) return "Choose a picture first.";
  if (WEIGHTS.every((id) => !numeric(id))) return "Give neurons, pixels or features a weight.";
  if (numeric("neurons") && model.results.length && !ticked().length) return "Tick a backbone, or give the neurons weight 0.";
  return "";
}

function changed() {
  const why = obstacle();
  const boxes = part("backbones").childElementCount;
  part("coarse-field").hidden = part("space").value !== "w+";
  part("polish-field").hidden = Boolean(preset?.settings.plain); // as published: no such thing
  part("chosen").textContent = boxes ? `${ticked().length} of ${boxes} backbones` : "";
  part("go").disabled = busy || Boolean(why);
  part("ready").textContent = why || (busy ? "Running." : `${numeric("steps")} steps in ${part("space").value}, ${numeric("restarts")} ${numeric("restarts") === 1 ? "start" : "starts side by side"}.`);
}

form.addEventListener("input", changed);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!busy && !obstacle()) put("invert-ask", { ...asked(), ...get("invert-target") });
});
part("generator").addEventListener("change", () => describe(false));
part("result").addEventListener("change", () => {
  backbones();
  changed();
});
on("invert-target", changed);
on("invert-busy", (now) => {
  busy = Boolean(now);
  changed();
});
on("readiness", () => load());
on("models-changed", () => load());
on("results-changed", () => load());
load();
