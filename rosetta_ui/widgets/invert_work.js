/* One page's inversions: what is asked goes to the app; frames, loss and results come back. Publishes
   "invert-busy", "invert-chosen" ({page, run}) for the panel below, and "invert-framed" ({picture,
   crop}) once the app has found what the generator draws in the picture. */
const { h, icon, on, put, get, call, before, curves, format } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

const LOOK = 100; // ms between looks: as many as frames come, ten a second
const LOOK_NUMBERS = 1000; // ms between looks at numbers that are being made
const LOOK_FRAMED = 400; // ms between looks at where the picture has what the generator draws
const ALIVE = 20000; // ms between signs of life: the app forgets pages that are gone

let page = "";
let runs = [];
let chosen = 0; // `which` of the run that is shown
let running = 0; // ticket of the inversion that is followed
let seen = 0; // points of the loss that are here
let frame = 0; // the newest frame that is here
let points = [];
let target = ""; // data address of what is asked for
let begun = 0;

const plot = curves(part("curves"), { perceptual: "features" });
const uncover = before(part("compare"), part("over"), () => target, part("edge"));

/* --- what is seen --- */

function say(text, wrong = false) {
  part("said").textContent = text;
  part("said").classList.toggle("wrong", wrong);
}
const complain = (error) => say(`${error.message} ${error.hint ?? ""}`, true);

/** Cards that explain, or what takes their place once there is something to see. */
function explaining(now) {
  for (const id of ["card-target", "card-picture", "card-loss"]) part(id).hidden = !now;
  for (const id of ["tile-target", "tile-picture", "plot"]) part(id).hidden = now;
}

function tiles(picture, caption, preview = false) {
  explaining(false);
  part("target").src = target;
  part("picture").hidden = !picture;
  if (picture) part("picture").src = picture;
  part("caption").textContent = caption;
  part("badge").hidden = !preview;
  part("badge").textContent = "Preview";
  uncover();
}

function busy(now) {
  part("stop").disabled = !now;
  part("bar").classList.toggle("waiting", now);
  if (!now) part("bar").firstElementChild.style.width = "0";
  element.dataset.busy = now ? "yes" : "no";
  put("invert-busy", now);
  offerMore();
}

const offerMore = () => (part("more").hidden = Boolean(running) || !runs.length || chosen !== runs.at(-1).which);

/* --- asking --- */

let opening = null;

/** A page that the app knows; two that ask at once get the same. */
function ensure() {
  opening ??= call(server.open, { page, session: props.value?.session ?? "" })
    .then((answer) => (page = answer.page))
    .finally(() => (opening = null));
  return opening;
}

let prepared = null; // {generator, picture} that the app was asked to get ready for

/** The first inversion of a generator looks at its own pictures: while a person still chooses. Then
    it looks through the person's picture for what the generator draws. */
async function prepare() {
  const generator = get("invert-generator")?.name;
  const { picture, framed } = get("invert-target") ?? {};
  if (!generator || !picture) {
    prepared = null;
    return;
  }
  if (prepared?.generator === generator && prepared.picture === picture) return;
  const mine = (prepared = { generator, picture });
  element.dataset.looked = "no";
  try {
    await ensure();
    await call(server.prepare, { page, generator, picture: framed ? "" : picture });
    if (!framed) await lookThrough(mine);
  } catch {
    if (prepared === mine) prepared = null; // the inversion itself will say what is wrong
  }
}

async function lookThrough(mine) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_FRAMED));
    if (prepared !== mine) return;
    const { ready, crop } = await call(server.framed, { page });
    if (prepared !== mine) return;
    if (!ready) continue;
    if (crop) put("invert-framed", { picture: mine.picture, crop });
    element.dataset.looked = "yes";
    return;
  }
}
on("invert-target", prepare);
on("invert-generator", prepare);

on("invert-ask", async (request) => {
  if (!request || running) return;
  busy(true);
  say("Asked.");
  try {
    await ensure();
    const answer = await call(server.ask, { page, request });
    target = answer.target;
    part("compare").value = 0;
    part("picture").removeAttribute("src");
    begin(answer.ticket);
    tiles("", "");
  } catch (error) {
    busy(false);
    complain(error);
  }
});

function begin(ticket) {
  running = ticket;
  seen = frame = 0;
  points = [];
  begun = performance.now();
  plot.clear();
  element.dataset.frames = "0";
  element.dataset.state = "running";
  busy(true);
  follow(ticket);
}

async function follow(mine) {
  try {
    const now = await call(server.progress, { page, seen, frame });
    if (mine !== running || now.ticket !== mine) return;
    note(now);
    if (now.state === "queued" || now.state === "running") setTimeout(() => follow(mine), LOOK);
    else await finish(now);
  } catch (error) {
    if (mine !== running) return;
    running = 0;
    element.dataset.state = "failed";
    busy(false);
    complain(error);
  }
}

/** Take what is new: points of the loss, a frame, how far it is. */
function note(now) {
  if (now.points.length) {
    const [{ step }] = now.points;
    if (points.length && step <= points.at(-1).step) points = []; // the next class begins
    points.push(...now.points);
    seen = now.seen;
    plot.draw(points);
  }
  if (now.picture) {
    frame = now.frame;
    element.dataset.frames = String(Number(element.dataset.frames) + 1);
    tiles(now.picture, `Step ${now.step} of ${now.steps}`, now.preview);
  }
  const waiting = now.state === "queued" || now.step === 0;
  part("bar").classList.toggle("waiting", waiting && ["queued", "running"].includes(now.state));
  part("bar").firstElementChild.style.width = now.steps ? `${(100 * now.step) / now.steps}%` : "0";
  part("bar").setAttribute("aria-valuenow", now.steps ? Math.round((100 * now.step) / now.steps) : 0);
  if (now.state === "queued") say(`Waiting for the device, ${now.place} in front.`);
  else if (now.step) say(`Step ${now.step} of ${now.steps}${now.left === null ? "" : `, ${format.seconds(now.left)} left`}. ${now.message}`);
  else say(now.message || "Getting ready: the first inversion of a generator looks at some of its pictures.");
}

async function finish(now) {
  running = 0;
  element.dataset.state = now.state;
  const took = format.seconds((performance.now() - begun) / 1000);
  if (now.state === "failed") say(`${now.message} ${now.hint}`, true);
  else if (now.state === "done") say(`Done in ${took}.`);
  else say(now.which ? `Stopped after ${took}; the best so far is kept.` : "Stopped before there was a picture.");
  await list();
  busy(false);
  if (now.which) await choose(now.which);
  else if (chosen) await choose(chosen);
}

/* --- runs --- */

async function list() {
  ({ runs } = await call(server.results, { page }));
  part("runs").replaceChildren(...runs.map(card));
  part("runs").classList.toggle("several", runs.length > 1); // pictures large enough to compare
  offerMore();
}

function card(run) {
  const n = run.numbers;
  const psnr = n && (n.psnr === null ? "∞" : n.psnr.toFixed(1)); // none is infinite: the very pixels
  const numbers = n ? `PSNR ${psnr} dB, SSIM ${format.r(n.ssim)}, distance ${format.r(n.perceptual)}` : run.note;
  return h("div.run", {},
    h("button.pick", { type: "button", "aria-pressed": String(run.which === chosen), data: { which: String(run.which) }, onclick: () => pick(run.which) },
      h("img", { src: run.thumb, alt: "" }),
      h("span.r-num", {}, h("b", {}, run.label), h("small", {}, run.words), h("small", {}, numbers))),
    h("button.r-button.small.icon.quiet.bin", { type: "button", "aria-label": `Remove ${run.label}`, onclick: () => forget(run.which) }, icon("bin")));
}

const pick = (which) => !running && choose(which).catch(complain);

async function choose(which) {
  const run = await call(server.result, { page, which });
  if (running) return;
  chosen = which;
  target = run.target;
  points = run.points;
  tiles(run.picture, run.numbers || !run.note ? "Generated; drag across it to compare" : run.note);
  plot.draw(points);
  for (const button of part("runs").querySelectorAll(".pick")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.which) === which));
  }
  offerMore();
  put("invert-chosen", { page, run });
  lookAgain(which);
}

/** Numbers come later than the picture: look until they are there. */
async function lookAgain(which, looks = 240) {
  const run = runs.find((r) => r.which === which);
  if (!run || !looks || (run.numbers && run.numbers.realism !== null) || !run.note) return;
  await new Promise((resolve) => setTimeout(resolve, LOOK_NUMBERS));
  if (running || chosen !== which || !page) return;
  try {
    await list();
    const now = runs.find((r) => r.which === which);
    const shown = get("invert-chosen");
    if (running || chosen !== which || !now || !shown) return;
    put("invert-chosen", { page, run: { ...shown.run, numbers: now.numbers, note: now.note } });
    part("caption").textContent = now.numbers || !now.note ? "Generated; drag across it to compare" : now.note;
    lookAgain(which, looks - 1);
  } catch (error) {
    complain(error);
  }
}

async function forget(which) {
  try {
    await call(server.forget, { page, which });
    await list();
    if (chosen !== which) return;
    chosen = 0;
    if (runs.length) await choose(runs.at(-1).which);
    else {
      put("invert-chosen", null);
      explaining(true);
    }
    offerMore();
  } catch (error) {
    complain(error);
  }
}

/* --- buttons --- */

part("stop").addEventListener("click", async () => {
  part("stop").disabled = true;
  say("Stopping.");
  try {
    await call(server.stop, { page });
  } catch (error) {
    complain(error);
  }
});

part("go-on").addEventListener("click", async () => {
  const steps = Number(part("more-steps").value);
  busy(true);
  try {
    const { ticket } = await call(server.more, { page, steps });
    begin(ticket);
  } catch (error) {
    busy(false);
    complain(error);
  }
});

setInterval(() => page && server.alive({ page }).catch(() => {}), ALIVE);
addEventListener("pagehide", () => page && server.close({ page }));
