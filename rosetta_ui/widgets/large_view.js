/* One neuron, one image, every model: maps at their own size over the same picture. Hovering shows
   the raw activation of all models at that point. Publishes "large" {image} when it has painted. */
const { h, on, put, get, select, call, latest, notice, failure, format, icon, maps, setView, term, explain,
  favourites, setFavourite, save, sheet } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const figures = element.querySelector(".figures");
const content = element.querySelector(".content");
const message = element.querySelector(".message");

const SMOOTH = 128; // px of an enlarged map: finer is not seen at the size of a tile

let row = null; // the chosen row of the gallery
let answer = null; // what the app said about it, with decoded maps
let tiles = []; // one a map: {canvas, reading, legend}
let known = new Map(); // answers that were seen, so that going back and forth asks nothing

/* --- tools --- */

const tool = (name, label, onclick) =>
  h("button.r-button.small.icon", { type: "button", "aria-label": label, title: label, onclick }, icon(name));
const previous = tool("left", "Previous neuron", () => step(-1));
const next = tool("right", "Next neuron", () => step(1));
const link = tool("link", "Copy a link to this view", copyLink);
const scale = h("select.r-select.scale", { "aria-label": "Colour scale", onchange: (e) => setView({ scale: e.target.value }) },
  h("option", { value: "data" }, "Data-set scale"), h("option", { value: "image" }, "Image scale"));
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
part("called").addEventListener("keydown", (event) => event.key === "Enter" && part("called").blur());
on("favourites", drawFavourite);

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
  const key = JSON.stringify([gallery.result, gallery.selection, row.key, image]);
  const began = performance.now();
  content.classList.add("busy");
  try {
    const got = known.get(key)
      ?? (await askLarge({ result: gallery.result, ...gallery.selection, anchor: row.key, image }));
    if (!got) return;
    keep(key, got);
    answer = decoded(got);
    draw();
    element.dataset.shownMs = (performance.now() - began).toFixed(0);
    put("large", { image: answer.image, neuron: row.key });
    lookAhead(gallery, image);
  } catch (error) {
    say(failure(error));
  } finally {
    content.classList.remove("busy");
  }
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
    keep(key, await call(server.large, { result: gallery.result, ...gallery.selection, anchor: following.key, image: wanted }));
  } catch {
    // It will be asked again, and complain then, when somebody wants to see it.
  }
}

function decoded(got) {
  return { ...got, cells: got.cells.map((cell) => {
    const raw = maps.floats(cell.values);
    let low = Infinity;
    let high = -Infinity;
    for (const v of raw) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
    return { ...cell, raw, own: [low, high] };
  }) };
}

/* --- drawing --- */

function say(node) {
  message.replaceChildren(node);
  message.hidden = false;
  content.hidden = true;
  answer = null;
}

function missing(neuron) {
  part("name").textContent = neuron;
  part("place").textContent = "Not in this list";
  part("pills").replaceChildren();
  say(notice({ title: "This unit is no Rosetta Neuron under the chosen rule",
    text: "It has no partner in every backbone here. Choose another rule, K or score, or another neuron." }));
}

function describe() {
  const gallery = get("gallery");
  const shown = get("shown") ?? gallery.rows;
  const at = shown.findIndex((r) => r.key === row.key);
  part("name").textContent = row.key;
  part("place").textContent = at >= 0 ? `Neuron ${at + 1} of ${shown.length}` : "Outside the filters";
  previous.disabled = at <= 0;
  next.disabled = at < 0 || at === shown.length - 1;
  const verdict = row.above
    ? explain(h("button.r-pill.good", { type: "button" }, icon("check"), "Above the null"),
      `Its weakest score, ${format.r(row.score)}, is above ${format.r(gallery.threshold)}, the threshold that only 5 % of chance matches reach.`)
    : explain(h("button.r-pill.warn", { type: "button" }, icon("warn"), "No better than chance"),
      `Its weakest score, ${format.r(row.score)}, is not above ${format.r(gallery.threshold)}, the threshold that 5 % of chance matches reach.`);
  drawFavourite();
  const group = row.concept < 0 ? null : h("button.r-pill.accent", { type: "button", title: "Show only this concept",
    onclick: () => select({ concept: get("state").concept === "" ? row.concept : "" }) }, `Concept ${row.concept + 1}`);
  part("pills").replaceChildren(...[verdict, group].filter(Boolean));
}

function draw() {
  message.hidden = true;
  content.hidden = false;
  tiles = [];
  figures.replaceChildren(generated(), ...row.cells.map(figure));
  paintAll();
  strip();
  drawMark(marked());
  part("live").textContent = `${row.key}, image ${answer.image}, weakest score ${format.r(row.score)}.`;
}

const pictureOf = () => h("img", { src: answer.picture, alt: `Generated image ${answer.image}`, draggable: "false" });
const fact = (words, value) => h("span", {}, words, " ", h("b", {}, value));

function generated() {
  const { threshold } = get("gallery");
  return h("div.figure", {}, h("span.r-tile", {}, pictureOf(), h("i.mark"), h("i.probe")),
    h("div.caption", {}, h("span.model", {}, "Generated image"),
      h("span.unit", {}, `image ${answer.image} of ${answer.n_images}`),
      h("div.scores.r-num", {}, fact(term("weakest", "weakest r"), format.r(row.score)), fact(term("null"), format.r(row.null)),
        threshold === null ? null : fact(term("threshold"), format.r(threshold)))));
}

function figure(cell, i) {
  const canvas = h("canvas", { role: "img", "aria-label": `Map of ${cell.unit.name}`, data: { unit: cell.unit.name } });
  const reading = h("span.reading");
  const legend = h("span.legend", { title: "Colours from the lowest to the highest activation" }, h("span"), h("i"), h("span"));
  tiles.push({ canvas, reading, legend });
  return h("div.figure", {},
    h("span.r-tile.has-map", {}, pictureOf(), canvas, h("i.mark"), h("i.probe"), reading),
    h("div.caption", {}, legend,
      h("span.model", { title: cell.unit.model }, cell.unit.model),
      h("span.unit", { title: cell.unit.name }, `${cell.unit.layer}:${cell.unit.channel}`),
      ...(cell.score === undefined ? [h("div.scores", {}, "the generator's own unit")] : scores(cell))));
}

function scores(cell) {
  const fill = h("i");
  const mark = h("u");
  fill.style.width = `${Math.max(0, cell.score) * 100}%`;
  mark.style.left = `${Math.max(0, cell.null ?? 0) * 100}%`;
  return [
    h("div.scored", {}, h("div.meter", {}, fill, cell.null === null ? null : mark),
      h("span.r.r-num", {}, "r ", h("b", {}, format.r(cell.score)))),
    h("div.scores.r-num", {}, fact(term("null"), format.r(cell.null)), fact(term("rank"), String(cell.rank)),
      cell.halves ? fact(term("halves"), cell.halves.map(format.r).join(" / ")) : null)];
}

function paintAll() {
  const view = get("view");
  if (!answer) return;
  tiles.forEach(({ canvas, legend }, i) => {
    const { raw, width, height, low, high, own } = answer.cells[i];
    const [from, to] = view.scale === "image" ? own : [low, high];
    maps.paint(canvas, maps.levels(raw, from, to), width, height, view, SMOOTH);
    const [least, bar, most] = legend.children;
    least.textContent = format.value(from);
    bar.style.background = maps.gradient(view.colours);
    most.textContent = format.value(to);
  });
}

function strip() {
  part("thumbs").replaceChildren(...answer.best.map((image, place) =>
    h("button.thumb", { type: "button", "aria-pressed": String(image === answer.image),
      "aria-label": `Image ${image}, number ${place + 1} for this neuron`, onclick: () => show(image) },
    h("span.r-tile", {}, h("img", { src: answer.pictures[image], alt: "", draggable: "false" })),
    h("small.r-num", {}, String(image)))));
}

/* --- the raw value under the pointer, in every model at once --- */

figures.addEventListener("pointermove", (event) => {
  const tile = event.target.closest(".r-tile");
  if (!tile || !answer) {
    figures.classList.remove("probing");
    return;
  }
  const box = tile.getBoundingClientRect();
  probe((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
});
figures.addEventListener("pointerleave", () => figures.classList.remove("probing"));

function probe(x, y) {
  if (start) drawMark([Math.min(x, start.x), Math.min(y, start.y), Math.max(x, start.x), Math.max(y, start.y)]);
  figures.classList.add("probing");
  const cellAt = (size, t) => Math.min(size - 1, Math.max(0, Math.floor(t * size)));
  figures.querySelectorAll(".probe").forEach((dot) => {
    dot.style.left = `${100 * x}%`;
    dot.style.top = `${100 * y}%`;
  });
  tiles.forEach(({ reading }, i) => {
    const { raw, width, height } = answer.cells[i];
    reading.textContent = format.value(raw[cellAt(height, y) * width + cellAt(width, x)]);
  });
}

/* --- a place in the picture: click, or drag a box --- */

let start = null; // {x, y, tile} where a press began

const placeIn = (tile, event) => {
  const box = tile.getBoundingClientRect();
  const inside = (v) => Math.min(1, Math.max(0, v));
  return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
};

figures.addEventListener("pointerdown", (event) => {
  const tile = event.target.closest(".r-tile");
  if (!tile || !answer || event.button !== 0) return;
  const [x, y] = placeIn(tile, event);
  start = { x, y, tile };
  if (event.pointerType !== "touch") tile.setPointerCapture(event.pointerId);
});

figures.addEventListener("pointerup", (event) => {
  if (!start || !answer) return;
  const [x, y] = placeIn(start.tile, event);
  const corners = [Math.min(x, start.x), Math.min(y, start.y), Math.max(x, start.x), Math.max(y, start.y)];
  const small = corners[2] - corners[0] < 0.04 && corners[3] - corners[1] < 0.04;
  const place = small ? [start.x, start.y] : corners;
  start = null;
  // The grid then shows this image in every row, ordered by activity at this place.
  select({ point: place.map((v) => v.toFixed(3)).join(","), pin: answer.image, image: answer.image });
});
figures.addEventListener("pointercancel", () => { start = null; });

function drawMark(corners) {
  const [x0, y0, x1, y1] = corners.length === 2 ? [corners[0], corners[1], corners[0], corners[1]] : corners;
  figures.querySelectorAll(".mark").forEach((mark) => {
    mark.hidden = corners.length === 0;
    mark.classList.toggle("spot", corners.length === 2);
    Object.assign(mark.style, { left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
  });
}

const marked = () => (get("state").point ? get("state").point.split(",").map(Number) : []);

/* --- a picture to keep --- */

on("picture-wanted", async (wanted) => {
  if (!wanted || !answer) return;
  put("picture-wanted", 0);
  const view = get("view");
  const notes = row.cells.map((cell) => `${cell.unit.layer}:${cell.unit.channel}${cell.score === undefined ? "" : `  r ${format.r(cell.score)}`}`);
  const drawn = [{ title: "Generated image", note: `image ${answer.image}`, map: null },
    ...row.cells.map((cell, i) => ({ title: cell.unit.model, note: notes[i], map: tiles[i].canvas }))];
  try {
    const png = await sheet({ heading: row.key, picture: answer.picture, figures: drawn, opacity: view.opacity, raw: view.mode === "raw" });
    save(`${row.key.replace(/[^\w.-]+/g, "_")}-image${answer.image}.png`, png, "image/png");
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
  if (changed.has("neuron") || changed.has("image")) load();
  if (changed.has("point")) drawMark(marked());
});

on("gallery", (gallery) => {
  known = new Map();
  if (gallery?.byKey) load();
  else if (gallery?.failed || gallery?.empty) {
    part("name").textContent = "\u00a0";
    part("place").textContent = "";
    part("pills").replaceChildren();
    say(notice({ title: "Nothing chosen", text: "Choose a neuron in the list to see it in every model." }));
  } else {
    answer = null;
    skeleton();
  }
});

on("shown", () => row && get("gallery")?.byKey?.has(row.key) && describe());

function skeleton() {
  message.hidden = true;
  content.hidden = false;
  figures.replaceChildren(...Array.from({ length: 6 }, () => h("div.figure", {}, h("span.r-tile.r-skeleton"),
    h("div.caption", {}, h("span.model.r-skeleton", {}, "\u00a0"), h("span.unit", {}, "\u00a0")))));
  part("thumbs").replaceChildren(...Array.from({ length: 8 }, () => h("span.thumb", {}, h("span.r-tile.r-skeleton"))));
}

if (!get("gallery")) skeleton();
