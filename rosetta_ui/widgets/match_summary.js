/* What the chosen result found: numbers first, then backbone by backbone, then the ranked neurons. */
const { h, on, get, select, call, latest, debounce, notice, failure, format, term } =
  window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const inside = part("inside");
const FIRST = matchMedia("(max-width: 620px)").matches ? 10 : 25; // rows before "Show more"
let answer = null;
let all = false;

element.querySelector(".summary").classList.toggle("waiting", get("state").result !== "");

const ask = latest((payload) => call(server.summary, payload));

/* A finished match changes the list of results and the selection at once: one question will do. */
const load = debounce(fetchAndDraw, 30);

async function fetchAndDraw() {
  const { result, rule, k, score } = get("state");
  if (!result) {
    inside.replaceChildren(
      notice({
        title: "Nothing matched yet",
        text: "Choose a generator and some backbones, then run the match. What it finds appears here; earlier results are below.",
      }),
    );
    part("open").hidden = true;
    return;
  }
  try {
    const got = await ask({ result, rule, k: Number(k), score });
    if (!got) return;
    answer = got;
    all = false;
    draw();
    element.querySelector(".summary").classList.remove("waiting");
  } catch (error) {
    part("title").textContent = "Result";
    part("open").hidden = true;
    inside.replaceChildren(failure(error));
  }
}

function fact(value, words, main = false) {
  return h(
    `div.fact${main ? ".main" : ""}`,
    {},
    h("b", {}, value),
    h("span", {}, ...[words].flat()),
  );
}

function draw() {
  const { summary, title } = answer;
  part("title").textContent = title;
  part("open").hidden = summary.rosetta === 0;
  const share = summary.rosetta ? summary.rosetta_above_null / summary.rosetta : null;
  const live = summary.anchor_units - summary.anchor_dead;
  inside.replaceChildren(
    h(
      "div.facts",
      {},
      fact(
        format.count(summary.rosetta),
        [
          term("Rosetta Neuron", "Rosetta Neurons"),
          summary.null_rosetta === null
            ? ", no null"
            : [`, ${format.count(summary.null_rosetta)} `, term("by chance")],
        ].flat(),
        true,
      ),
      fact(share === null ? "–" : format.share(share), [
        term("above the null"),
        `: ${format.count(summary.rosetta_above_null)} of them`,
      ]),
      fact(format.count(live), [
        term("live units"),
        ` in ${summary.anchor}`,
        summary.anchor_dead ? `, ${summary.anchor_dead} dead` : "",
      ]),
      fact(
        format.count(summary.images),
        `images, seed ${summary.seed}${summary.partial ? ", so far" : ""}`,
      ),
      fact(
        format.seconds(summary.seconds),
        summary.rate === null
          ? "in all"
          : `${summary.rate.toFixed(summary.rate < 10 ? 1 : 0)} images/s, ${format.bytes(summary.peak)} of memory at most`,
      ),
    ),
    backbones(summary),
    neurons(),
  );
}

function backbones(summary) {
  const heads = [
    "Backbone",
    term("unit", "Units"),
    term("best buddies", "Best buddies"),
    term("share", "Share"),
    term("by chance", "By chance"),
    term("above the null", "Above the null"),
    term("threshold", "Threshold"),
    term("false discoveries", "False"),
    term("halves", "Halves agree"),
  ];
  const line = (t) => [
    t.backbone,
    `${format.count(t.units)}${t.dead ? ` (${format.count(t.dead)} dead)` : ""}`,
    format.count(t.best_buddies),
    format.share(t.share),
    format.count(t.null_best_buddies),
    format.share(t.above_null),
    format.r(t.threshold),
    format.share(t.false_discoveries),
    format.share(t.jaccard),
  ];
  return h(
    "div.part",
    {},
    h("h3", {}, "Backbone by backbone"),
    h(
      "div.wide",
      {},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, ...heads.map((text, i) => h(i ? "th" : "th.left", { scope: "col" }, text))),
        ),
        h(
          "tbody",
          {},
          ...summary.tables.map((t) =>
            h("tr", {}, ...line(t).map((text, i) => h(i ? "td" : "td.left", {}, text))),
          ),
        ),
      ),
    ),
  );
}

const unitName = (model, layer, channel) => `${model.layers[layer].name}:${channel}`;

function neurons() {
  const { models, rows } = answer;
  if (!rows.length) {
    return notice({
      title: "No Rosetta Neuron under this rule",
      text: "No unit has a partner in every backbone. Try a larger K, another rule, or more images.",
    });
  }
  const shown = all ? rows : rows.slice(0, FIRST);
  const heads = [
    "#",
    "Neuron",
    term("weakest", "Weakest r"),
    term("null", "Null"),
    ...models.slice(1).map((m) => m.name),
  ];
  const body = h("tbody", {}, ...shown.map((row, at) => tableRow(row, at, models)));
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line) select({ result: answer.summary.result, neuron: line.dataset.key, tab: "gallery" });
  });
  const rest = rows.length - shown.length;
  return h(
    "div.part",
    {},
    h("h3", {}, `Ranked neurons (${format.count(rows.length)})`),
    h(
      "div.wide",
      {},
      h(
        "table.ranked",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...heads.map((text, i) => h(i === 1 ? "th.left" : "th", { scope: "col" }, text)),
          ),
        ),
        body,
      ),
    ),
    rest > 0
      ? h(
          "div.after",
          {},
          h(
            "button.r-button.small",
            {
              type: "button",
              onclick: () => {
                all = true;
                draw();
              },
            },
            `Show ${format.count(rest)} more`,
          ),
        )
      : null,
  );
}

function tableRow([layer, channel, , above, partners], at, models) {
  const key = `${models[0].name}/${unitName(models[0], layer, channel)}`;
  const weakest = Math.min(...partners.map((p) => p[2]));
  const nulls = partners.map((p) => p[3]).filter((v) => v !== null);
  return h(
    "tr.go",
    { data: { key } },
    h("td", {}, String(at + 1)),
    h(
      "td.left",
      {},
      h(
        "button.link",
        { type: "button", title: `Open ${key} in the Gallery` },
        unitName(models[0], layer, channel),
      ),
    ),
    h("td", {}, format.r(weakest), above ? null : h("small", {}, "chance")),
    h("td", {}, nulls.length ? format.r(Math.min(...nulls)) : "–"),
    ...partners.map(([l, c, score], i) =>
      h("td", {}, format.r(score), h("small", {}, unitName(models[i + 1], l, c))),
    ),
  );
}

part("open").addEventListener("click", () => select({ tab: "gallery" }));
on("state", (state, changed) => {
  if (!changed.size || ["result", "rule", "k", "score"].some((key) => changed.has(key))) load();
});
on("results-changed", () => get("state").result && load());
