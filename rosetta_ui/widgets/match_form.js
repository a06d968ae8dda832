/* What to match: models, numbers, rule. Says what it costs before it is run, and starts it. Takes a
   request from the topic "request" (a line of the history) and fills itself in. */
const { h, on, put, get, select, call, latest, debounce, format, explain, explainTerms, failure } =
  window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const form = element.querySelector("form");
explainTerms(element);

let catalogue = { generators: [], backbones: [], presets: [] };
const generator = () =>
  catalogue.generators.find((model) => model.name === part("generator").value);
const named = () =>
  part("timm")
    .value.split(/[\s,]+/)
    .filter(Boolean);
const ticked = () => [
  ...new Set([
    ...[...element.querySelectorAll(".pick input:checked")].map((box) => box.value),
    ...named(),
  ]),
];

const STATES = {
  ready: ["Ready", "good"],
  fetch: ["Fetched on run", "accent"],
  download: ["Downloaded on run", "accent"],
  add: ["Needs a file", "warn"],
};
const statePill = (model) =>
  h(`span.r-pill.${STATES[model.state][1]}`, { title: model.detail }, STATES[model.state][0]);

/* --- models --- */

async function loadModels() {
  try {
    catalogue = await call(server.catalogue);
  } catch (error) {
    part("about").replaceChildren(failure(error));
    return;
  }
  // A request without a folder's name cannot say that a folder was chosen, nor which generator.
  const source = part("source").value;
  const kept = element.dataset.filled
    ? { ...asked(), source, generator: part("generator").value }
    : null;
  const groups = [
    ["Ready", ["ready"]],
    ["Fetched when needed", ["fetch", "download"]],
    ["Needs a file of yours", ["add"]],
  ];
  part("generator").replaceChildren(
    ...groups
      .map(([label, states]) => {
        const models = catalogue.generators.filter((model) => states.includes(model.state));
        return models.length
          ? h("optgroup", { label }, ...models.map((m) => h("option", { value: m.name }, m.title)))
          : null;
      })
      .filter(Boolean),
  );
  const near = catalogue.backbones.filter((model) => model.embedded);
  const far = catalogue.backbones.filter((model) => !model.embedded);
  part("backbones").replaceChildren(...near.map(pick));
  part("others").replaceChildren(...far.map(pick));
  part("source-field").hidden = !catalogue.own_machine;
  part("more-title").textContent = `More backbones (${far.length}, or any of timm's)`;
  part("presets").replaceChildren(...catalogue.presets.map(preset));
  fill(kept ?? get("request") ?? catalogue.usual);
  element.dataset.filled = "yes";
  // Before this, there is nothing to choose from, and what a person typed would be overwritten.
  part("all").disabled = false;
  part("all").removeAttribute("aria-busy");
}

function pick(model) {
  const facts = [model.units ? `${format.count(model.units)} units` : "", model.licence]
    .filter(Boolean)
    .join(" · ");
  return h(
    "label.pick",
    { title: `${model.about}\n${model.terms}` },
    h("input", { type: "checkbox", value: model.name, onchange: changed }),
    h("span.name", {}, model.title),
    statePill(model),
    h("span.facts", {}, facts),
  );
}

function preset(choice) {
  const button = h(
    "button.r-button.small",
    {
      type: "button",
      "aria-pressed": "false",
      data: { preset: choice.name },
      onclick: () => fill(choice.request),
    },
    choice.name,
  );
  return explain(button, choice.about);
}

function describe() {
  const model = generator();
  if (!model) return;
  const size = `${model.size[1]} × ${model.size[0]} px`;
  const facts = [
    size,
    model.units ? `${format.count(model.units)} units` : "",
    model.bytes && model.state !== "ready" ? format.bytes(model.bytes) : "",
  ];
  part("about").replaceChildren(
    h("p", {}, model.about),
    h(
      "div.facts.r-num",
      {},
      statePill(model),
      ...facts.filter(Boolean).map((text) => h("span", {}, text)),
    ),
    h("p.terms", {}, h("b", {}, `${model.licence}. `), model.terms),
    ...(model.state === "add"
      ? [h("p", {}, model.detail), model.command ? h("code", {}, model.command) : null]
      : []
    ).filter(Boolean),
  );
  part("class-field").hidden = model.classes === 0;
  part("class").max = Math.max(0, model.classes - 1);
  part("class-range").textContent = model.classes ? `0 to ${model.classes - 1}` : "";
}

/* --- values --- */

const numeric = (id) => (part(id).value.trim() === "" ? null : Number(part(id).value));

const fromPhotos = () => part("source").value === "photos";

function showSource() {
  part("photos-field").hidden = !fromPhotos();
  part("generator-block").hidden = fromPhotos();
}

function asked() {
  const model = generator();
  return {
    generator: fromPhotos() ? "" : part("generator").value,
    backbones: ticked(),
    images: numeric("images"),
    batch: numeric("batch"),
    seed: numeric("seed"),
    psi: fromPhotos() ? null : numeric("psi"),
    class: model && model.classes && !fromPhotos() ? numeric("class") : null,
    photos: fromPhotos() ? part("photos").value.trim() : "",
    score: part("score").value,
    rule: part("rule").value,
    k: numeric("k"),
  };
}

function fill(request) {
  if (!request) return;
  const put = (id, value) => value !== undefined && value !== null && (part(id).value = value);
  if (request.generator) put("generator", request.generator);
  part("source").value = request.source ?? (request.photos ? "photos" : "");
  part("photos").value = request.photos ?? "";
  showSource();
  if (!generator()) part("generator").selectedIndex = 0;
  element.querySelectorAll(".pick input").forEach((box) => {
    box.checked = request.backbones.includes(box.value);
  });
  const listed = new Set(catalogue.backbones.map((model) => model.name));
  part("timm").value = request.backbones.filter((name) => !listed.has(name)).join(", ");
  if (part("timm").value || element.querySelector(".more .pick input:checked"))
    part("more").open = true;
  for (const id of ["images", "batch", "seed", "score", "rule", "k", "class"]) put(id, request[id]);
  part("psi").value = request.psi ?? generator()?.psi ?? 1;
  describe();
  changed();
}

/* --- cost --- */

const askCost = latest((payload) => call(server.estimate, payload));

const cost = debounce(async () => {
  const box = part("cost");
  try {
    if (fromPhotos() && !part("photos").value.trim())
      throw new window.rosetta.Refusal("Name a folder of photos.");
    if (!ticked().length) throw new window.rosetta.Refusal("Choose at least one backbone.");
    const answer = await askCost(asked());
    if (!answer) return;
    const time =
      answer.seconds === null
        ? ["time unknown until these models have run here"]
        : ["about ", h("b", {}, format.seconds(answer.seconds))];
    box.classList.remove("wrong");
    box.replaceChildren(
      ...(answer.cached
        ? [h("b", {}, "Matched before:"), " it opens at once."]
        : [
            h("b", {}, `${format.count(answer.images)} images`),
            ", ",
            ...time,
            `, ${format.bytes(answer.memory)} of memory, ${format.bytes(answer.disk)} on disk`,
          ]),
    );
    part("run").disabled = false;
  } catch (error) {
    box.classList.add("wrong");
    box.textContent = `${error.message} ${error.hint ?? ""}`;
    part("run").disabled = true;
  }
}, 200);

function changed() {
  part("chosen").textContent = `${ticked().length} chosen`;
  const now = JSON.stringify(asked());
  for (const button of part("presets").children) {
    const choice = catalogue.presets.find((p) => p.name === button.dataset.preset);
    button.setAttribute("aria-pressed", String(matches(choice.request)));
  }
  if (now) cost();
}

function matches(request) {
  const now = asked();
  return (
    now.generator === request.generator &&
    now.images === request.images &&
    now.score === request.score &&
    [...now.backbones].sort().join() === [...request.backbones].sort().join()
  );
}

form.addEventListener("input", changed);
part("source").addEventListener("change", () => {
  showSource();
  changed();
});
part("generator").addEventListener("change", () => {
  part("psi").value = generator()?.psi ?? 1;
  describe();
  changed();
});

/* --- run --- */

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const request = asked();
  part("run").disabled = true;
  try {
    const { job } = await call(server.start, request);
    put("started", { job, request });
    select({ job });
  } catch (error) {
    part("cost").classList.add("wrong");
    part("cost").textContent = `${error.message} ${error.hint ?? ""}`;
  } finally {
    part("run").disabled = false;
  }
});

on("request", (request) => request && element.dataset.filled && fill(request));
// Weights that arrive change what is ready.
on("readiness", () => element.dataset.filled && loadModels());
on("models-changed", () => element.dataset.filled && loadModels());
loadModels();
