/* The grid of heatmaps: one row a neuron, the picture and then one column a model. Only the rows in
   view exist in the page; their 16 × 16 maps are fetched a screen ahead and painted here. */
const {
  h,
  on,
  get,
  select,
  call,
  throttle,
  notice,
  failure,
  format,
  icon,
  maps,
  favourites,
  gridRow,
  concepts,
  term,
} = window.rosetta;
const scroll = element.querySelector(".scroll");
const table = element.querySelector(".table");
const heads = element.querySelector(".heads");
const body = element.querySelector(".body");
const message = element.querySelector(".message");
const part = (id) => element.querySelector(`[data-id="${id}"]`);

const AHEAD = 8; // rows kept and fetched beyond what is seen
const NARROW = 500;

const FILTERED = {
  title: "No neuron passes these filters",
  text: "Lower the weakest r, or clear the filters above.",
};
const NONE = {
  title: "No Rosetta Neuron under this rule",
  text: "No unit has a partner in every backbone. Try a larger K or another rule.",
};

let rows = [];
let lines = new Map(); // row number → element
let stored = new Map(); // row key → {image, maps}
let pictures = new Map(); // image → address
let asked = new Set();
let focused = { row: 0, column: 0 };
let metrics = { cell: 76, height: 110 };
let began = 0;

/* --- size --- */

function measure() {
  const columns = columnCount();
  const width = scroll.clientWidth;
  if (!width) return;
  const narrow = width < NARROW;
  const head = narrow ? 0 : Math.min(230, Math.max(112, width * 0.19));
  const inner = narrow ? width - 14 - 4 * (columns - 1) : width - 22 - head - 6 * columns;
  const cell = Math.floor(Math.min(150, inner / columns));
  table.classList.toggle("narrow", narrow);
  table.style.setProperty("--columns", columns);
  table.style.setProperty("--cell", `${cell}px`);
  table.style.setProperty("--head", `${Math.floor(head)}px`);
  const height = 7 + cell + 19 + (narrow ? 24 : 0);
  if (cell === metrics.cell && height === metrics.height) return;
  metrics = { cell, height };
  redraw();
}

const columnCount = () => (get("gallery")?.models?.length ?? 5) + 1;

/* --- rows --- */

function redraw() {
  for (const line of lines.values()) line.remove();
  lines = new Map();
  body.style.height = `${rows.length * metrics.height + 6}px`;
  update();
}

function visible(margin) {
  const top = Math.floor(scroll.scrollTop / metrics.height) - margin;
  const seen = Math.ceil(scroll.clientHeight / metrics.height) + 2 * margin;
  return [Math.max(0, top), Math.min(rows.length, top + seen)];
}

function update() {
  const [first, last] = visible(AHEAD);
  for (const [at, line] of lines) {
    if (at < first || at >= last) {
      if (line.contains(document.activeElement)) scroll.focus({ preventScroll: true });
      line.remove();
      lines.delete(at);
    }
  }
  for (let at = first; at < last; at += 1) {
    if (!lines.has(at)) {
      const line = makeLine(rows[at], at);
      lines.set(at, line);
      body.append(line);
      paintLine(at);
    }
  }
  keepStop();
  wanted();
}

/** The Tab key reaches one cell: where its row was scrolled out of the page, the nearest seen one. */
function keepStop() {
  if (!rows.length || lines.has(focused.row)) return;
  const [first, last] = visible(0);
  focused.row = Math.min(Math.max(focused.row, first), last - 1);
  const cell = lines.get(focused.row)?.querySelector(`[data-column="${focused.column}"]`);
  cell?.setAttribute("tabindex", "0");
}

function makeLine(row, at) {
  const line = gridRow.make(row, at, {
    chosen: get("state").neuron === row.key,
    called: favourites(get("gallery").result)[row.key],
    concept: concepts.conceptText(row),
    stop: at === focused.row ? focused.column : -1,
  });
  gridRow.label(line, row, get("active")?.get(row.key));
  line.style.top = `${at * metrics.height}px`;
  line.style.height = `${metrics.height}px`;
  return line;
}

/* --- maps --- */

const pinned = () => (get("state").pin === "" ? null : Number(get("state").pin));

function paintLine(at) {
  const kept = stored.get(rows[at].key);
  if (kept) gridRow.paint(lines.get(at), kept, pictures.get(kept.image), get("view"));
}

const wanted = throttle(async () => {
  const gallery = get("gallery");
  if (!gallery?.rows) return;
  const [first, last] = visible(AHEAD);
  const missing = rows
    .slice(first, last)
    .filter((row) => !stored.has(row.key) && !asked.has(row.key));
  if (!missing.length) return;
  const keys = missing.map((row) => row.key);
  keys.forEach((key) => asked.add(key));
  const store = stored;
  try {
    const answer = await call(server.thumbs, {
      result: gallery.result,
      ...gallery.selection,
      anchors: keys,
      image: pinned(),
      have: [...pictures.keys()],
    });
    if (store !== stored) return; // another result or image was chosen meanwhile
    const all = maps.bytes(answer.maps);
    const size = all.length / keys.length;
    for (const [image, address] of Object.entries(answer.pictures))
      pictures.set(Number(image), address);
    keys.forEach((key, i) =>
      stored.set(key, { image: answer.images[i], maps: all.subarray(i * size, (i + 1) * size) }),
    );
    for (const at of lines.keys()) if (keys.includes(rows[at].key)) paintLine(at);
    finished();
  } catch (error) {
    if (store === stored) say(failure(error));
  } finally {
    if (store === stored) keys.forEach((key) => asked.delete(key));
  }
}, 24);

/** Say for the browser test and for people who measure how long the first screen took. */
function finished() {
  if (!began) return;
  element.dataset.paintedMs = (performance.now() - began).toFixed(0);
  began = 0;
}

function forget() {
  stored = new Map();
  asked = new Set();
}

/* --- messages --- */

function say(node) {
  message.replaceChildren(node);
  message.hidden = false;
  table.hidden = true;
}

function showRows(next) {
  rows = next;
  message.hidden = true;
  table.hidden = false;
  table.setAttribute("aria-rowcount", String(rows.length + 1));
  const chosen = rows.findIndex((row) => row.key === get("state").neuron);
  focused = { row: Math.max(0, chosen), column: 0 };
  redraw();
  if (get("active"))
    scroll.scrollTop = 0; // ranked by a place in the picture: the best come first
  else reveal();
}

function waiting() {
  rows = [];
  measure(); // before anything is seen: the observer tells only after the first drawing
  for (const line of lines.values()) line.remove();
  lines = new Map();
  message.hidden = true;
  table.hidden = false;
  const models = Array.from({ length: columnCount() - 1 }, () => ({ name: "\u00a0", units: null }));
  makeHeads({ models });
  const ghosts = Math.ceil((scroll.clientHeight || 600) / metrics.height);
  body.style.height = "";
  body.replaceChildren(...Array.from({ length: ghosts }, ghost));
}

/** A row that is still to come, as high as a real one. */
function ghost() {
  const cells = Array.from({ length: columnCount() }, () =>
    h("div.cell", {}, h("span.r-tile.r-skeleton")),
  );
  const name = h("div.name", {}, h("span.r-skeleton", {}, "\u00a0"));
  const line = h("div.line.ghost", {}, name, ...cells);
  Object.assign(line.style, { position: "static", height: `${metrics.height}px` });
  return line;
}

function makeHeads(gallery) {
  const head = (title, note) =>
    h(
      "div",
      { role: "columnheader", title: typeof title === "string" ? title : null },
      title,
      h("small.r-num", {}, note),
    );
  const units = (model) => (model.units === null ? "\u00a0" : `${format.count(model.units)} units`);
  heads.replaceChildren(
    h(
      "div.line",
      { role: "row", "aria-rowindex": "1" },
      head(term("Rosetta Neuron", "Neuron"), term("weakest", "weakest r")),
      head("Picture", "generated"),
      ...gallery.models.map((model) => head(model.name, units(model))),
    ),
  );
}

/* --- what it follows --- */

on("gallery", (gallery) => {
  forget();
  pictures = new Map();
  if (!gallery) {
    began = performance.now();
    waiting();
  } else if (gallery.failed) {
    say(failure(gallery.failed));
  } else if (gallery.empty) {
    say(
      notice({
        title: "No result to explore yet",
        text: "Match a generator with some backbones; the neurons that they share then appear here.",
        action: h(
          "button.r-button.primary",
          { type: "button", onclick: () => select({ tab: "match" }) },
          "Go to Match",
        ),
      }),
    );
  } else {
    body.replaceChildren();
    makeHeads(gallery);
    measure();
  }
});

on("shown", (shown) => {
  if (!shown || !get("gallery")?.rows) return;
  if (shown.length) {
    showRows(shown);
    if (!get("state").neuron) select({ neuron: shown[0].key });
    return;
  }
  rows = [];
  say(notice(get("gallery").rows.length ? FILTERED : NONE));
});

/* --- selection --- */

function mark() {
  const { neuron } = get("state");
  for (const [at, line] of lines)
    line.setAttribute("aria-selected", String(rows[at]?.key === neuron));
}

function reveal() {
  const at = rows.findIndex((row) => row.key === get("state").neuron);
  if (at >= 0) scrollTo(at);
}

function scrollTo(at) {
  const top = at * metrics.height;
  const room = scroll.clientHeight - heads.offsetHeight - metrics.height;
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top > scroll.scrollTop + room) scroll.scrollTop = top - room;
}

on("state", (state, changed) => {
  if (changed.has("neuron")) {
    mark();
    reveal();
  }
  if (changed.has("pin")) {
    forget();
    update();
  }
  if (["pin", "image", "point"].some((key) => changed.has(key)) || !changed.size) foot();
});

on("large", foot);
on("favourites", () => rows.length && redraw());
for (const topic of ["concepts", "concept-names"]) on(topic, tellConcepts);

/** Only the words change: focus, scroll and painted maps stay. */
function tellConcepts() {
  for (const [at, line] of lines)
    line.querySelector(".concept").textContent = concepts.conceptText(rows[at]);
}

on("view", (view, changed) => {
  const repaints = ["mode", "threshold", "colours"].some((key) => changed.has(key));
  if (repaints) for (const at of lines.keys()) paintLine(at);
});

function choose(at) {
  if (rows[at]) select({ neuron: rows[at].key });
}

function foot() {
  const image = pinned();
  const shown = get("large")?.image;
  part("which").textContent = get("state").point
    ? `Percentages: activity at the marked place in image ${image}`
    : image === null
      ? "Each row shows its neuron's best image"
      : `Every row shows image ${image}`;
  part("pin").replaceChildren(
    icon("pin"),
    image === null ? "Same image in every row" : "Best image in each row",
  );
  part("pin").disabled = image === null && shown === undefined;
}

part("pin").addEventListener("click", () => {
  const shown = get("large")?.image;
  if (pinned() === null) select({ pin: shown, image: shown });
  else select({ pin: "", image: "", point: "" });
});

body.addEventListener("click", (event) => {
  const line = event.target.closest(".line");
  if (!line || line.dataset.at === undefined) return;
  focusCell(Number(line.dataset.at), Number(event.target.closest(".cell")?.dataset.column ?? 0));
  choose(Number(line.dataset.at));
  // Where the large view lies below the grid, a tap should lead there.
  if (matchMedia("(max-width: 1080px)").matches)
    document.getElementById("large-view")?.scrollIntoView({ behavior: "smooth" });
});

/* --- keyboard: one stop in the tab order, arrows inside --- */

function focusCell(row, column) {
  const before = lines.get(focused.row)?.querySelector(`[data-column="${focused.column}"]`);
  before?.setAttribute("tabindex", "-1");
  focused = {
    row: Math.min(Math.max(0, row), rows.length - 1),
    column: Math.min(Math.max(0, column), columnCount() - 1),
  };
  scrollTo(focused.row);
  update();
  const cell = lines.get(focused.row)?.querySelector(`[data-column="${focused.column}"]`);
  cell?.setAttribute("tabindex", "0");
  cell?.focus({ preventScroll: true });
}

const page = () => Math.max(1, Math.floor(scroll.clientHeight / metrics.height) - 1);
const MOVES = {
  ArrowDown: () => [focused.row + 1, focused.column],
  ArrowUp: () => [focused.row - 1, focused.column],
  ArrowRight: () => [focused.row, focused.column + 1],
  ArrowLeft: () => [focused.row, focused.column - 1],
  PageDown: () => [focused.row + page(), focused.column],
  PageUp: () => [focused.row - page(), focused.column],
  Home: (event) => [event.ctrlKey ? 0 : focused.row, 0],
  End: (event) => [event.ctrlKey ? rows.length - 1 : focused.row, columnCount() - 1],
};

body.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(focused.row);
  } else if (MOVES[event.key]) {
    event.preventDefault();
    focusCell(...MOVES[event.key](event));
  }
});

scroll.addEventListener("scroll", update, { passive: true });
new ResizeObserver(measure).observe(scroll);
waiting();
foot();
