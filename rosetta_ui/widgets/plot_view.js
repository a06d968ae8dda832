/* Plots of the chosen result, one at a time. A click chooses a neuron, a backbone, or two layers. */
const { h, on, get, select, call, latest, notice, failure, plots, termed } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const canvas = part("canvas");

let answer = null;
let model = ""; // the backbone or model that a person chose; kept from plot to plot
let layers = ["", ""]; // two layers whose units are shown

const ask = latest((payload) => call(server.plot, payload));

async function load() {
  const { result, rule, k, score, plot } = get("state");
  if (!result) {
    say(notice({ title: "Nothing to plot yet", text: "Run a match, or open one of the results below." }));
    return;
  }
  canvas.classList.add("busy");
  try {
    const got = await ask({ result, rule, k: Number(k), score, name: plot, model, layers });
    if (!got) return;
    answer = got;
    describe();
    if (answer.figure) await show();
    else say(notice({ title: "This cannot be drawn here", text: answer.why }));
  } catch (error) {
    say(failure(error));
  } finally {
    canvas.classList.remove("busy");
  }
}

function say(node) {
  plots.clear(canvas);
  canvas.hidden = true;
  part("message").hidden = false;
  part("message").replaceChildren(node);
}

function describe() {
  if (part("names").childElementCount !== answer.plots.length) {
    part("names").replaceChildren(...answer.plots.map(({ name, title }) =>
      h("button.r-button.small", { type: "button", data: { name }, onclick: () => choose(name) }, title)));
  }
  for (const button of part("names").children) {
    button.setAttribute("aria-pressed", String(button.dataset.name === answer.name));
  }
  part("read").replaceChildren(...termed(answer.read));
  part("choice").hidden = answer.choices.length < 2;
  part("of").textContent = answer.of === "backbone" ? "Backbone" : "Model";
  part("model").replaceChildren(...answer.choices.map((name) => h("option", { value: name }, name)));
  part("model").value = answer.model;
  part("back").hidden = answer.layers[0] === "";
  canvas.setAttribute("aria-label", `${answer.title}. ${answer.read}`);
}

function choose(name) {
  layers = ["", ""];
  if (get("state").plot === name) load();
  else select({ plot: name });
}

async function show() {
  part("message").hidden = true;
  canvas.hidden = false;
  await plots.draw(canvas, { figure: answer.figure, address: props.value.plotly, chosen: get("state").neuron, onpick: pick });
  tell();
}

function pick(chosen) {
  if (chosen.neuron) select({ neuron: chosen.neuron });
  else if (chosen.rows) {
    layers = [chosen.rows, chosen.cols];
    load();
  } else if (chosen.backbone) {
    model = chosen.backbone;
    choose("layers");
  }
}

function tell() {
  const { neuron } = get("state");
  part("chosen").textContent = neuron ? `Chosen: ${neuron}` : "No neuron is chosen.";
  part("open").hidden = !neuron;
}

part("model").addEventListener("change", (event) => {
  model = event.target.value;
  layers = ["", ""];
  load();
});
part("back").addEventListener("click", () => {
  layers = ["", ""];
  load();
});
part("open").addEventListener("click", () => select({ tab: "gallery" }));

const seen = plots.whenSeen(element, load);
on("state", (state, changed) => {
  if (!seen()) return;
  if (["result", "rule", "k", "score", "plot"].some((key) => changed.has(key))) {
    if (changed.has("result")) layers = ["", ""];
    load();
  } else if (changed.has("neuron")) {
    if (answer?.figure && !canvas.hidden) show();
    else tell();
  }
});
on("results-changed", () => seen() && get("state").result && load());
