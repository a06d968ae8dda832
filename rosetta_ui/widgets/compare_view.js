/* The chosen result beside another one: counts, scores against each other, and the pairs. */
const { h, on, get, select, call, latest, notice, failure, format, plots, term, explainTerms } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

let results = [];
let answer = null;
let backbone = "";

const ask = latest((payload) => call(server.comparison, payload));
const where = () => part("where").querySelector("input:checked").value;

async function load() {
  const { result, other, rule, k, score } = get("state");
  if (!result || !other || other === result) {
    say(results.length > 1
      ? notice({ title: "Choose a result to compare with", text: "Another seed, number of images, ψ or choice of backbones of the same generator: pairs that both find are the ones to trust." })
      : notice({ title: "Nothing to compare with yet", text: "Run a second match of the same generator, for example with another seed." }));
    return;
  }
  try {
    const got = await ask({ result, other, rule, k: Number(k), score, backbone });
    if (!got) return;
    answer = got;
    draw();
  } catch (error) {
    say(failure(error));
  }
}

function say(node) {
  answer = null;
  plots.clear(part("canvas"));
  part("content").hidden = true;
  part("message").hidden = false;
  part("message").replaceChildren(node);
}

explainTerms(element);

const fact = (value, words) => h("div.fact", {}, h("b", {}, format.count(value)), h("span", {}, ...[words].flat()));

function draw() {
  part("message").hidden = true;
  part("content").hidden = false;
  const [both, here, there] = answer.rosetta;
  const missing = [
    answer.missing_first.length ? `Only the other result has ${answer.missing_first.join(", ")}.` : "",
    answer.missing_second.length ? `Only this result has ${answer.missing_second.join(", ")}.` : ""].filter(Boolean).join(" ");
  part("facts").replaceChildren(
    fact(both, [term("Rosetta Neuron", "Rosetta Neurons"), " in both"]), fact(here, "only in this result"), fact(there, "only in the other"),
    ...(missing ? [h("p.r-soft", {}, missing)] : []));
  const heads = ["Backbone", "In both", "Only here", "Only there", term("overlap", "Overlap"), term("r of the scores")];
  const body = h("tbody", {}, ...answer.tables.map((t) => h("tr", { data: { backbone: t.backbone }, "aria-selected": String(t.backbone === answer.backbone) },
    h("td.left", {}, h("button.link", { type: "button" }, t.backbone)),
    ...[format.count(t.both), format.count(t.only_first), format.count(t.only_second), format.share(t.jaccard), format.r(t.correlation)].map((text) => h("td", {}, text)))));
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (!line) return;
    backbone = line.dataset.backbone;
    load();
  });
  part("table").replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((text, i) => h(i ? "th" : "th.left", { scope: "col" }, text)))), body));
  list();
  if (answer.figure) {
    plots.draw(part("canvas"), { figure: answer.figure, address: props.value.plotly, chosen: get("state").neuron,
      onpick: (chosen) => chosen.neuron && select({ neuron: chosen.neuron }) }).catch((error) => say(failure(error)));
  } else plots.clear(part("canvas"));
}

function list() {
  const pairs = answer.pairs[where()];
  if (!pairs.length) {
    part("list").replaceChildren(notice({ title: "No such pair", text: "Under this rule there is none of this kind in the chosen backbone." }));
    return;
  }
  const chosen = get("state").neuron;
  const body = h("tbody", {}, ...pairs.map(([anchor, partner, first, second]) =>
    h("tr", { data: { neuron: anchor }, "aria-selected": String(anchor === chosen) },
      h("td.left", {}, h("button.link", { type: "button", title: `Select ${anchor}` }, anchor.slice(answer.anchor.length + 1)), h("small", {}, partner)),
      h("td", {}, format.r(first)), h("td", {}, format.r(second)))));
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line) select({ neuron: line.dataset.neuron });
  });
  part("list").replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, h("th.left", { scope: "col" }, "Neuron and partner"),
    h("th", { scope: "col" }, term("score", "r here")), h("th", { scope: "col" }, "r there"))), body));
}

/** A result beside its title: what may tell it from another one of the same models. */
function said(info) {
  const psi = info.psi === null ? "" : `, ψ ${info.psi}`;
  return `${info.title} (${format.count(info.images)} images, seed ${info.seed}${psi})`;
}

function fill() {
  const { result, other } = get("state");
  const mine = results.find((info) => info.id === result);
  const rest = results.filter((info) => info.id !== result && (!mine || info.generator === mine.generator));
  part("other").replaceChildren(h("option", { value: "" }, "Choose a result"),
    ...rest.map((info) => h("option", { value: info.id }, said(info))));
  part("other").value = rest.some((info) => info.id === other) ? other : "";
}

async function loadResults() {
  try {
    results = await call(server.results);
    fill();
    await load();
  } catch (error) {
    say(failure(error));
  }
}

part("other").addEventListener("change", (event) => select({ other: event.target.value }));
part("where").addEventListener("change", () => answer && list());

const seen = plots.whenSeen(element, loadResults);
on("results-changed", () => seen() && loadResults());
on("state", (state, changed) => {
  if (!seen()) return;
  if (changed.has("result") || changed.has("other")) fill();
  if (["result", "other", "rule", "k", "score"].some((key) => changed.has(key))) load();
  else if (changed.has("neuron") && answer) draw();
});
