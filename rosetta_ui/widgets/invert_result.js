/* The chosen inversion: how like the target it is, where the models agree, and where it can go on. */
const { h, on, put, get, call, latest, select, save, term, explainTerms, maps, notice, failure, format, setView } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

explainTerms(element);

let page = "";
let run = null;
let painted = []; // {canvas, map, size} of every map that is shown

function say(text, wrong = false) {
  part("said").textContent = text;
  part("said").classList.toggle("wrong", wrong);
}
const complain = (error) => say(`${error.message} ${error.hint ?? ""}`, true);

/* --- numbers --- */

function figure(name, words, value, small, warn = false) {
  return h(`div${warn ? ".warn" : ""}`, {}, h("dt", {}, term(name, words)), h("dd", {}, value, h("small", {}, small)));
}

function numbers() {
  const n = run.numbers;
  if (!n) {
    part("numbers").replaceChildren(h("div", {}, h("dt", {}, "Numbers"), h("dd", {}, "–", h("small", {}, run.note || "They are being made."))));
    return;
  }
  const far = n.realism !== null && n.realism > 95;
  part("numbers").replaceChildren(
    figure("PSNR", "PSNR", n.psnr === null ? "∞" : `${n.psnr.toFixed(1)} dB`, "higher is closer"),
    figure("SSIM", "SSIM", format.r(n.ssim), "1 is the same picture"),
    figure("perceptual distance", "Perceptual distance", format.value(n.perceptual), n.perceptual_name),
    n.lpips === null ? "" : figure("LPIPS", "LPIPS", format.value(n.lpips), "AlexNet, lower is closer"),
    figure("realism", "How rare", n.realism === null ? "–" : `${n.realism.toFixed(0)} %`,
      n.realism === null ? run.note || "not known" : far ? "rarer than 19 of 20 of its own pictures" : "of its own pictures are more usual", far));
}

/* --- maps --- */

const askMaps = latest((payload) => call(server.heatmaps, payload));

async function agreement() {
  const mine = run.which;
  const model = get("invert-generator");
  painted = [];
  if (model?.name === run.generator && !model.results.length) {
    const go = h("button.r-button.small", { type: "button", onclick: () => select({ tab: "match" }) }, "Open the Match tab");
    part("wide").replaceChildren(notice({ title: "No match of this generator is here yet", text: "Once it is matched with backbones, the neurons that they share guide an inversion, and their maps are compared here.", action: go }));
    return;
  }
  element.dataset.maps = "";
  part("wide").replaceChildren(h("div.r-skeleton", { style: "height: 110px" }));
  try {
    const got = await askMaps({ page, which: mine });
    if (!got || run?.which !== mine) return;
    if (!got.neurons.length) {
      part("wide").replaceChildren(notice({ title: "No neurons guided this inversion", text: "Give neurons a weight, and choose backbones that are matched with this generator." }));
    } else part("wide").replaceChildren(table(got));
    element.dataset.maps = String(got.neurons.length);
    repaint();
  } catch (error) {
    if (run?.which === mine) part("wide").replaceChildren(failure(error));
  }
}

function table({ neurons, backbones }) {
  const tops = [h("th", { scope: "col" }, "Neuron"), h("th", { scope: "col" }, "Generator", h("small", {}, "while it draws")),
    ...backbones.map((name) => h("th", { scope: "col" }, name, h("small", {}, "asked for, generated")))];
  return h("table", {}, h("thead", {}, h("tr", {}, ...tops)), h("tbody", {}, ...neurons.map((neuron) => line(neuron, backbones))));
}

function line(neuron, backbones) {
  const own = h("td", {}, tile(run.picture, neuron.own, `${neuron.unit} while it draws`));
  const cells = backbones.map((name) => {
    const seen = neuron.partners[name];
    if (!seen) return h("td.none", {}, "not matched");
    return h("td", {},
      h("div.pair", {}, tile(run.target, seen.target, `${seen.unit} on what was asked for`), tile(run.picture, seen.inversion, `${seen.unit} on the generated picture`)),
      h("div.under", {}, "drawn ", h("b", {}, format.r(seen.agreement)), ", again ", h("b", {}, format.r(seen.repeated)), h("br"), seen.unit.split("/").slice(1).join("/")));
  });
  return h("tr", {}, h("th", { scope: "row" }, neuron.unit.split("/").slice(1).join("/")), own, ...cells);
}

function tile(picture, { size, data }, words) {
  const canvas = h("canvas", { role: "img", "aria-label": `Map of ${words}` });
  painted.push({ canvas, map: maps.bytes(data), size });
  return h("span.r-tile.has-map", {}, h("img", { src: picture, alt: "" }), canvas);
}

function repaint() {
  for (const { canvas, map, size } of painted) maps.paint(canvas, map, size[1], size[0], get("view"), 96);
}

/* --- the whole --- */

on("invert-chosen", (given) => {
  part("result").hidden = !given;
  if (!given) {
    run = null;
    return;
  }
  const other = run?.which !== given.run.which || page !== given.page || run.steps !== given.run.steps;
  ({ page, run } = given);
  part("title").textContent = run.label;
  numbers();
  if (!other) return;
  say("");
  agreement();
});

on("view", (view, changed) => {
  part("opacity").value = view.opacity;
  if (["mode", "threshold", "colours"].some((key) => changed.has(key))) repaint();
});
part("opacity").addEventListener("input", () => setView({ opacity: Number(part("opacity").value) }));

/* --- onwards --- */

const stem = () => `${run.generator}-inverted-${run.which}`;

part("edit").addEventListener("click", async () => {
  part("edit").disabled = true;
  say("Opening it in the Edit tab.");
  try {
    const { page: opened } = await call(server.edit, { page, which: run.which });
    put("edit-adopt", { page: opened });
    select({ tab: "edit" });
    say("");
  } catch (error) {
    complain(error);
  }
  part("edit").disabled = false;
});

part("png").addEventListener("click", async () => {
  try {
    const { png } = await call(server.png, { page, which: run.which });
    save(`${stem()}.png`, await (await fetch(png)).blob(), "image/png");
  } catch (error) {
    complain(error);
  }
});

part("recipe").addEventListener("click", async () => {
  try {
    const recipe = await call(server.recipe, { page, which: run.which });
    save(`${stem()}-recipe.json`, JSON.stringify(recipe, null, 1), "application/json");
  } catch (error) {
    complain(error);
  }
});
