/* One neuron, one image, every model: maps at their own size over the same picture. Hovering shows
   the raw activation of all models at that point. Publishes "large" {image} when it has painted. */
const {
  h,
  on,
  put,
  get,
  select,
  call,
  latest,
  notice,
  failure,
  format,
  icon,
  maps,
  setView,
  explained,
  favourites,
  setFavourite,
  save,
  sheet,
  vector,
  concepts,
  activeUnits,
  expressing,
} = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const figures = element.querySelector(".figures");
const drawn = window.rosetta.figures;
const content = element.querySelector(".content");
const message = element.querySelector(".message");

let row = null; // the chosen row of the gallery
let answer = null; // what the app said about it, with decoded maps
let tiles = []; // one a map: {node, canvas, reading, legend}
let known = new Map(); // answers that were seen, so that going back and forth asks nothing

/* --- tools --- */

const tool = (name, label, onclick) =>
  h(
    "button.r-button.small.icon",
    { type: "button", "aria-label": label, title: label, onclick },
    icon(name),
  );
const previous = tool("left", "Previous neuron", () => step(-1));
const next = tool("right", "Next neuron", () => step(1));
const link = tool("link", "Copy a link to this view", copyLink);
const scale = h(
  "select.r-select.scale",
  { "aria-label": "Colour scale", onchange: (e) => setView({ scale: e.target.value }) },
  h("option", { value: "data" }, "Data-set scale"),
  h("option", { value: "image" }, "Image scale"),
);
explained(scale, "colour scale");
const star = tool("star", "Keep as a favourite", () => favour(part("called").hidden ? "" : null));
part("tools").append(scale, star, link, previous, next);
const earlier = tool("left", "Previous image", () => stepImage(-1));
const later = tool("right", "Next image", () => stepImage(1));
part("image-tools").append(earlier, later);

function step(by) {
  const shown = get("shown") ?? [];
  const at = shown.findIndex((r) => r.key === row?.key);
  const target = shown[Math.min(Math.max(0, at + by), shown.length - 1)];
  if (target) select({ neuron: target.key });
}

function stepImage(by) {
  if (answer) show((answer.image + by + answer.n_images) % answer.n_images);
}

/** Show another image; where the whole grid shows one image, it follows. */
function show(image) {
  select(get("state").pin === "" ? { image } : { image, pin: image });
}

/* --- favourites --- */

function favour(name) {
  if (!row) return;
  setFavourite(get("gallery").result, row.key, name);
  if (name === "") part("called").focus();
}

function drawFavourite() {
  const name = row ? favourites(get("gallery")?.result)[row.key] : undefined;
  star.setAttribute("aria-pressed", String(name !== undefined));
  part("called").hidden = name === undefined;
  if (document.activeElement !== part("called")) part("called").value = name ?? "";
}

part("called").addEventListener("change", () => favour(part("called").value.trim()));
part("called").addEventListener(
  "keydown",
  (event) => event.key === "Enter" && part("called").blur(),
);
on("favourites", drawFavourite);

/* --- the concept: its words, or a person's own name for it --- */

function drawPills() {
  part("pills").replaceChildren(
    ...[concepts.verdict(row), ...concepts.conceptPill(row, rename)].filter(Boolean),
  );
}

function rename() {
  part("concept").hidden = false;
  part("concept").value = concepts.conceptText(row);
  part("concept").select();
}

function renamed(keep) {
  if (part("concept").hidden) return;
  part("concept").hidden = true;
  if (keep && row) concepts.nameConcept(row, part("concept").value.trim());
}

part("concept").addEventListener("blur", () => renamed(true));
part("concept").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "Escape") renamed(event.key === "Enter");
});
for (const topic of ["concepts", "concept-names"]) {
  on(topic, () => row && get("gallery")?.byKey?.has(row.key) && drawPills());
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    part("live").textContent = "Link copied.";
    link.replaceChildren(icon("check"));
    setTimeout(() => link.replaceChildren(icon("link")), 1500);
  } catch {
    // Browsers refuse the clipboard to pages that are not served safely: the address bar has it.
    part("live").textContent = "Copy the address of this page: it leads here.";
  }
}

/* --- loading --- */

const askLarge = latest((payload) => call(server.large, payload));
const askCoarse = latest((payload) => call(server.coarse, payload));

async function load() {
  const gallery = get("gallery");
  const state = get("state");
  if (!gallery?.byKey) return;
  row = gallery.byKey.get(state.neuron) ?? null;
  if (!row) {
    if (state.neuron) missing(state.neuron);
    return;
  }
  const image = state.image === "" ? null : Number(state.image);
  describe();
  if (gallery.images === 0) {
    withoutPictures();
    return;
  }
  const key = JSON.stringify([gallery.result, gallery.selection, row.key, image]);
  const began = performance.now();
  const view = { result: gallery.result, ...gallery.selection, anchor: row.key, image };
  const since = () => (performance.now() - began).toFixed(0);
  let waiting = !known.has(key);
  content.classList.toggle("busy", waiting);
  part("sharpening").hidden = !waiting;
  if (waiting) showCoarse(view, () => waiting, since);
  try {
    const got = known.get(key) ?? (await askLarge(view));
    if (!got) return;
    waiting = false;
    keep(key, got);
    present(got);
    element.dataset.shownMs = since();
    lookAhead(gallery, image);
  } catch (error) {
    waiting = false;
    say(failure(error));
  }
  content.classList.remove("busy");
  part("sharpening").hidden = true;
}

/** Show the stored small maps while the models compute their own, which may take seconds. */
async function showCoarse(view, waiting, since) {
  try {
    const got = await askCoarse(view);
    if (!got?.coarse || !waiting()) return;
    present(got);
    content.classList.remove("busy");
    element.dataset.firstMs = since();
  } catch {
    // The full answer is on its way, and says what is wrong in its place.
  }
}

function present(got) {
  answer = decoded(got);
  draw();
  figures.dataset.maps = got.coarse ? "coarse" : "whole";
  put("large", { image: answer.image, neuron: row.key });
}

function keep(key, got) {
  known.delete(key);
  known.set(key, got);
  if (known.size > 60) known.delete(known.keys().next().value);
}

/** Fetch the next neuron's maps while a person looks at this one. */
async function lookAhead(gallery, image) {
  const shown = get("shown") ?? [];
  const following = shown[shown.findIndex((r) => r.key === row.key) + 1];
  const wanted = get("state").pin === "" ? null : image;
  if (!following) return;
  const key = JSON.stringify([gallery.result, gallery.selection, following.key, wanted]);
  if (known.has(key)) return;
  try {
    keep(
      key,
      await call(server.large, {
        result: gallery.result,
        ...gallery.selection,
        anchor: following.key,
        image: wanted,
      }),
    );
  } catch {
    // It will be asked again, and complain then, when somebody wants to see it.
  }
}

const decoded = (got) => ({ ...got, cells: got.cells.map(drawn.decoded) });

/* --- drawing --- */

function say(node) {
  message.replaceChildren(node);
  message.hidden = false;
  content.hidden = true;
  answer = null;
}

/** An imported dictionary carries scores only; they are shown, and what is not here is said. */
function withoutPictures() {
  say(
    notice({
      title: "No pictures and no maps here",
      text: "This result was imported from a dictionary. Import its bundle to see them, or run the match here.",
    }),
  );
  content.hidden = false;
  figures.replaceChildren(...drawn.bare(row));
  part("thumbs").replaceChildren();
  part("strip").hidden = true;
}

function missing(neuron) {
  part("name").textContent = neuron;
  part("place").textContent = "Not in this list";
  part("pills").replaceChildren();
  say(
    notice({
      title: "This unit is no Rosetta Neuron under the chosen rule",
      text: "It has no partner in every backbone here. Choose another rule, K or score, or another neuron.",
    }),
  );
}

function describe() {
  const gallery = get("gallery");
  const shown = get("shown") ?? gallery.rows;
  const at = shown.findIndex((r) => r.key === row.key);
  part("name").textContent = row.key;
  part("place").textContent =
    at >= 0 ? `Neuron ${at + 1} of ${shown.length}` : "Outside the filters";
  previous.disabled = at <= 0;
  next.disabled = at < 0 || at === shown.length - 1;
  drawFavourite();
  drawPills();
}

function draw() {
  message.hidden = true;
  content.hidden = false;
  part("strip").hidden = false;
  tiles = row.cells.map((cell) => drawn.figure(cell, answer));
  const first = drawn.generated(row, answer, get("gallery").threshold);
  figures.replaceChildren(first, ...tiles.map((tile) => tile.node));
  paintAll();
  strip();
  drawn.drawMark(figures, marked());
  part("live").textContent =
    `${row.key}, image ${answer.image}, weakest score ${format.r(row.score)}.`;
}

function paintAll() {
  if (answer) drawn.paint(tiles, answer, get("view"));
}

function strip() {
  part("thumbs").replaceChildren(
    ...answer.best.map((image, place) =>
      h(
        "button.thumb",
        {
          type: "button",
          "aria-pressed": String(image === answer.image),
          "aria-label": `Image ${image}, number ${place + 1} for this neuron`,
          onclick: () => show(image),
        },
        h(
          "span.r-tile",
          {},
          h("img", { src: answer.pictures[image], alt: "", draggable: "false" }),
        ),
        h("small.r-num", {}, String(image)),
      ),
    ),
  );
}

/* --- raw values under the pointer; a place: click, or drag a box --- */

const spelled = (corners) => corners.map((v) => v.toFixed(3)).join(",");

drawn.watchPointer(figures, {
  hover: (x, y) => answer && drawn.readAt(tiles, answer, x, y),
  place(corners) {
    if (!answer) return;
    // The grid then shows this image in every row, ordered by activity at this place.
    select({ point: spelled(corners), pin: answer.image, image: answer.image });
  },
});

const marked = () => (get("state").point ? get("state").point.split(",").map(Number) : []);

const there = activeUnits(part("active"), server, (corners) =>
  select({ point: spelled(corners), pin: get("state").pin }),
);
const more = expressing(part("express"), server);
part("more").addEventListener("click", () => row && more.start(row));

/* --- a picture to keep --- */

on("picture-wanted", async (wanted) => {
  if (!wanted || !answer) return;
  put("picture-wanted", "");
  const view = get("view");
  const note = ({ unit, score }) =>
    `${unit.layer}:${unit.channel}${score === undefined ? "" : `  r ${format.r(score)}`}`;
  const maps = row.cells.map((cell, i) => ({
    title: cell.unit.model,
    note: note(cell),
    map: tiles[i].canvas,
  }));
  const first = { title: "Generated image", note: `image ${answer.image}`, map: null };
  try {
    const page = {
      heading: row.key,
      picture: answer.picture,
      figures: [first, ...maps],
      opacity: view.opacity,
      raw: view.mode === "raw",
    };
    const stem = `${row.key.replace(/[^\w.-]+/g, "_")}-image${answer.image}`;
    if (wanted === "svg") save(`${stem}.svg`, vector(page), "image/svg+xml");
    else save(`${stem}.png`, await sheet(page), "image/png");
  } catch (error) {
    part("live").textContent = error.message;
  }
});

/* --- what it follows --- */

on("view", (view, changed) => {
  scale.value = view.scale;
  if (["mode", "threshold", "colours", "scale"].some((key) => changed.has(key))) paintAll();
});

on("state", (state, changed) => {
  if (changed.has("neuron")) more.close();
  if (changed.has("neuron") || changed.has("image")) load();
  if (changed.has("point")) drawn.drawMark(figures, marked());
  there.load();
});

on("gallery", (gallery) => {
  known = new Map();
  there.forget();
  there.load();
  if (gallery?.byKey) load();
  else if (gallery?.failed || gallery?.empty) {
    part("name").textContent = "\u00a0";
    part("place").textContent = "";
    part("pills").replaceChildren();
    say(
      notice({
        title: "Nothing chosen",
        text: "Choose a neuron in the list to see it in every model.",
      }),
    );
  } else {
    answer = null;
    skeleton();
  }
});

on("shown", () => row && get("gallery")?.byKey?.has(row.key) && describe());

function skeleton() {
  message.hidden = true;
  content.hidden = false;
  figures.replaceChildren(
    ...Array.from({ length: 6 }, () =>
      h(
        "div.figure",
        {},
        h("span.r-tile.r-skeleton"),
        h(
          "div.caption",
          {},
          h("span.model.r-skeleton", {}, "\u00a0"),
          h("span.unit", {}, "\u00a0"),
        ),
      ),
    ),
  );
  part("thumbs").replaceChildren(
    ...Array.from({ length: 8 }, () => h("span.thumb", {}, h("span.r-tile.r-skeleton"))),
  );
}

if (!get("gallery")) skeleton();
