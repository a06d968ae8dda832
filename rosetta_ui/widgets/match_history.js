/* Earlier results: open, run again, rename, keep, delete. */
const { h, on, put, get, select, call, notice, failure, format, icon } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
let results = [];
let editing = "";
let doomed = ""; // asked to be deleted once; a second press does it

async function load() {
  try {
    results = await call(server.results);
    draw();
  } catch (error) {
    part("list").replaceChildren(failure(error));
  }
}

async function act(ask, payload) {
  part("said").textContent = "";
  try {
    await call(ask, payload);
    put("results-changed", Date.now());
  } catch (error) {
    part("said").textContent = `${error.message} ${error.hint ?? ""}`;
    load();
  }
}

function draw() {
  const own = results.filter((info) => !info.bundled);
  part("total").textContent = own.length
    ? format.bytes(own.reduce((sum, info) => sum + info.bytes, 0))
    : "";
  part("list").replaceChildren(
    ...(results.length
      ? results.map(item)
      : [notice({ title: "No result yet", text: "Every match that you run is listed here." })]),
  );
}

function about(info) {
  const models = `${info.generator} × ${info.backbones.join(", ")}`;
  const facts = [
    models,
    `${format.count(info.images)} images`,
    `seed ${info.seed}`,
    info.psi === null ? "" : `ψ ${info.psi}`,
    info.class === null ? "" : `class ${info.class}`,
    info.bundled ? "" : format.date(info.created),
    info.bytes ? format.bytes(info.bytes) : "",
  ];
  return facts.filter(Boolean).join(" · ");
}

function item(info) {
  const current = get("state").result === info.id;
  return h(
    "li.item",
    { "aria-current": String(current) },
    h(
      "div.name",
      {},
      editing === info.id
        ? renaming(info)
        : h(
            "button.open",
            {
              type: "button",
              title: "Show what it found",
              onclick: () => select({ result: info.id }),
            },
            info.title,
          ),
      info.bundled ? h("span.r-pill", {}, "Comes with the app") : null,
      info.saved ? h("span.r-pill.good", {}, "Kept") : null,
    ),
    h("span.about.r-num", {}, about(info)),
    acts(info),
  );
}

/** Whether a result can stand beside the one that is open: another one of the same generator. */
function compared(info) {
  const current = results.find((each) => each.id === get("state").result);
  return current && current.id !== info.id && current.generator === info.generator;
}

const compare = (info) => () => {
  select({ other: info.id });
  document.getElementById("compare-view")?.scrollIntoView({ block: "start" });
};

function acts(info) {
  const act1 = (name, label, onclick, classes = "") =>
    h(
      `button.r-button.small.icon.quiet${classes}`,
      { type: "button", "aria-label": `${label}: ${info.title}`, title: label, onclick },
      icon(name),
    );
  const again = act1("again", "Fill the form with these settings", () =>
    put("request", { ...info }),
  );
  const beside = compared(info) ? act1("compare", "Compare with the open result", compare(info)) : null;
  if (info.bundled) return h("div.acts", {}, beside, again);
  const sure = doomed === info.id;
  return h(
    "div.acts",
    {},
    beside,
    again,
    act1(
      "pin",
      info.saved ? "Let the cache's budget decide" : "Keep, whatever the cache's budget",
      () => act(server.keep, { result: info.id, saved: !info.saved }),
      info.saved ? ".on" : "",
    ),
    act1("pencil", "Rename", () => {
      editing = info.id;
      draw();
      element.querySelector(".r-input")?.select();
    }),
    sure
      ? h("button.r-button.small.danger", { type: "button", onclick: () => remove(info) }, "Delete")
      : act1("bin", "Delete", () => {
          doomed = info.id;
          draw();
          setTimeout(() => {
            if (doomed === info.id) {
              doomed = "";
              draw();
            }
          }, 4000);
        }),
  );
}

function renaming(info) {
  const box = h("input.r-input", {
    type: "text",
    value: info.title,
    maxlength: "120",
    "aria-label": "New title",
  });
  const done = (keep) => {
    if (editing !== info.id) return;
    editing = "";
    if (keep && box.value.trim() && box.value !== info.title)
      act(server.rename, { result: info.id, title: box.value.trim() });
    draw();
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") done(true);
    if (event.key === "Escape") done(false);
  });
  box.addEventListener("blur", () => done(true));
  return box;
}

function remove(info) {
  doomed = "";
  if (get("state").result === info.id) select({ result: "" });
  act(server.delete, { result: info.id });
}

on("results-changed", load);
on("state", (state, changed) => changed.has("result") && draw());
if (get("results-changed") === undefined) load();
