/* The person's picture and the square of it that is asked for. Publishes "invert-target" ({picture,
   crop, name, framed}, crop as shares) whenever either changes, or null while there is none. */
const { h, on, put, get, call, latest, intake, camera, encoded, cropper, sketch } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

let source = null; // {picture: data address, width, height, crops, name, framed: crops are right}
let model = null; // the generator: its size and framing decide what is proposed and shown

function say(text, wrong = false) {
  part("said").textContent = text;
  part("said").classList.toggle("wrong", wrong);
}
const complain = (error) => say(`${error.message} ${error.hint ?? ""}`, true);

const show = (which) => {
  for (const id of ["drop", "camera-area", "chosen"]) part(id).hidden = id !== which;
  part("another").hidden = which === "drop";
};

/* --- the square --- */

const crop = cropper(part("stage"), part("box"), ({ x, y, side }) => {
  const { width, height, picture, name, framed } = source;
  const shares = { x: (x + side / 2) / width, y: (y + side / 2) / height, side: side / Math.min(width, height) };
  element.dataset.crop = JSON.stringify(shares);
  put("invert-target", { picture, name, framed: Boolean(framed), crop: shares });
  paint();
});

/** What the generator is asked for, in as many pixels as it draws. */
function paint() {
  const square = crop.get();
  const image = part("picture");
  if (!square || !image.complete || !image.naturalWidth) return;
  const canvas = part("preview");
  const asked = model ? Math.min(...model.size) : 256;
  const side = Math.max(1, Math.min(asked, Math.round(square.side), 256));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const scale = image.naturalWidth / source.width;
  const [x, y, from] = [square.x, square.y, square.side].map((v) => v * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, side, side);
  context.drawImage(image, x, y, from, from, 0, 0, side, side);
  part("size").textContent = `What is asked for, ${asked}\u00a0×\u00a0${asked}\u00a0px`;
}

/** A square given as shares, in pixels of the picture. */
function inPixels(shares) {
  const { width, height } = source;
  const side = shares.side * Math.min(width, height);
  return { x: shares.x * width - side / 2, y: shares.y * height - side / 2, side };
}

const guessed = () => inPixels(source.crops[model?.framing ?? "centre"]);

/* The guess is there at once; what the app finds in the picture comes later, and never moves a square
   that a person has touched, nor one that is being inverted. */
on("invert-framed", (found) => {
  if (!found || found.picture !== source?.picture || get("invert-busy")) return;
  if (crop.propose(inPixels(found.crop))) say(`${source.name}: cut to what looks most like this generator's own pictures. Drag the square to change it.`);
});

/* --- the picture --- */

const ask = latest((work) => work());

/** Show what `work` gives: {picture, width, height, crops, notes}. */
async function take(name, waiting, work) {
  say(waiting);
  element.dataset.busy = "yes";
  let got;
  try {
    got = await ask(work);
    if (!got) return;
    await loaded(got.picture);
  } catch (error) {
    complain(error);
    element.dataset.busy = "no";
    return;
  }
  eye.stop();
  source = { ...got, name };
  part("stage").style.setProperty("--ratio", got.width / got.height);
  show("chosen");
  crop.set(got.width, got.height, guessed());
  const notes = got.notes.join(" ");
  say(`${name}, ${got.width} × ${got.height} px. ${notes || "Drag the square, or its corners."}`);
  element.dataset.busy = "no";
}

const loaded = (address) =>
  new Promise((resolve, reject) => {
    const image = part("picture");
    image.onload = resolve;
    image.onerror = () => reject(new window.rosetta.Refusal("The browser cannot show this picture."));
    image.hidden = false;
    image.src = address;
  });

function drop() {
  eye.stop();
  source = null;
  crop.clear();
  part("picture").hidden = true;
  part("picture").removeAttribute("src");
  delete element.dataset.crop;
  put("invert-target", null);
  show("drop");
  say("No picture yet.");
}

const read = (file, name) =>
  take(name, "Reading the picture.", async () => call(server.read, { data: await encoded(file) }));

intake(part("source"), read, complain);
part("file").addEventListener("change", () => {
  const [file] = part("file").files;
  part("file").value = "";
  if (file) read(file, file.name);
});
part("another").addEventListener("click", () => {
  drop();
  part("file").focus();
});
part("sketch").addEventListener("click", async () => {
  const { name } = source;
  const usual = source.crops;
  const kept = get("invert-target").crop;
  await take(`${name} as a sketch`, "Drawing the lines.", async () => {
    const got = await call(server.read, { data: await encoded(await sketch(part("picture"))) });
    return { ...got, framed: true, crops: { centre: kept, portrait: kept } };
  });
  if (source) source.crops = usual;
});

/* --- camera --- */

const eye = camera(part("video"));

part("camera").addEventListener("click", async () => {
  show("camera-area");
  say("Waiting for the camera.");
  try {
    await eye.start();
    say("The camera is on; it is switched off as soon as the picture is taken.");
    part("shoot").focus();
  } catch (error) {
    show("drop");
    complain(error);
  }
});
part("shoot").addEventListener("click", async () => {
  try {
    const shot = await eye.shoot();
    await read(shot, "Camera picture");
    if (!source) show("drop");
  } catch (error) {
    complain(error);
  }
});
part("camera-off").addEventListener("click", drop);
addEventListener("pagehide", () => eye.stop());
// The camera is not left on behind another tab of the page.
new IntersectionObserver(([entry]) => {
  if (!entry.isIntersecting && eye.on() && !element.offsetParent) drop();
}).observe(element);

/* --- examples --- */

function examples() {
  const wanted = model?.examples ?? [];
  part("examples").replaceChildren(
    ...(wanted.length ? [h("span.r-small.r-soft", {}, "Or try")] : []),
    ...wanted.map(({ title, about, ask: payload }) =>
      h("button.r-button.small", { type: "button", title: about, onclick: () =>
        take(title, "Getting the example.", () => call(server.example, { generator: model.name, ...payload })) }, title)));
}

on("invert-generator", (chosen) => {
  const reframe = source && model && chosen && chosen.framing !== model.framing;
  model = chosen ?? null;
  examples();
  if (reframe) crop.propose(guessed());
  paint();
});
