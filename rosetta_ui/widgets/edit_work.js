/* One page's picture: what is asked goes to the app, what comes back is published to the pad. The
   newest gesture wins: those that come while one is being sent are dropped but for the last. */
const { h, on, put, get, call, save, explain, farewell, format } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);

const LOOK = 150; // ms between looks at an edit that runs
const LOOK_NUMBERS = 1000; // ms between looks at numbers that are being made
const ALIVE = 20000; // ms between signs of life: the app forgets pages that are gone
const SETTLE = 250; // ms: gestures that follow each other faster count as one
const SETTLE_BUSY = 900; // ms: likewise while an edit runs, whose work would be thrown away
const LOW = 0.8; // fidelity below which an edit may have fallen short
const LEAST = 0.25; // share of the way to 1 that an edit should have made
const SHORT = "Little of what was asked was done: this generator does not draw it well. Ask for a smaller change, or give it more steps and restarts.";

let page = "";
let view = null;
let running = 0; // ticket of the task that is followed
let last = null; // the newest request, and where in the history it began
let seen = 0;
let timer = 0;
let asked = { calls: 0, last: 0, waiting: null, timer: 0 };

/** This page, and the connection by whose end the app notices that it is gone. */
const me = (id = page) => ({ page: id, session: props.value?.session ?? "" });

/* --- the view --- */

function take(next) {
  if (!next) return;
  if (view && next.generator !== view.generator) sketched(null);
  page = next.page;
  view = next;
  put("edit-view", next);
  part("undo").disabled = next.at === 0;
  part("redo").disabled = next.at >= next.entries.length - 1;
  part("reset").disabled = next.at === 0;
  part("png").disabled = part("recipe").disabled = part("source").disabled = false;
  part("webp").disabled = part("gif").disabled = next.at === 0;
  part("strengths").disabled = !last;
  part("strip").replaceChildren(...next.entries.map((entry, i) =>
    h("button.state", { type: "button", "aria-pressed": String(i === next.at), "aria-label": `State ${i}: ${entry.label}`, onclick: () => go(i) },
      h("img", { src: entry.thumb, alt: "" }), h("small", {}, entry.label))));
  part("strip").scrollLeft = 92 * next.at - part("strip").clientWidth / 2; // never the page itself
  numbers(next.entries[next.at]);
}

function figure(name, value, small, why, warn = false) {
  return explain(h(`div${warn ? ".warn" : ""}`, { tabindex: "0" }, h("dt", {}, name), h("dd", {}, value, h("small", {}, small))), why);
}

function numbers(entry) {
  const found = entry.numbers;
  const box = part("numbers");
  const verdict = part("verdict");
  verdict.classList.remove("warn");
  if (!found) {
    box.replaceChildren();
    verdict.textContent = entry.note;
    return;
  }
  const fell = found.after !== null && found.after < LOW && found.after - found.before < LEAST * (1 - found.before);
  const parts = [];
  if (found.after !== null) {
    parts.push(figure("Did what it says", format.r(found.after), `${format.r(found.before)} before`,
      `Cosine between the features of ${found.judge} on this picture and on the one before, moved as asked. 1 is perfect. That model took no part in the edit.`));
  }
  if (found.partner !== null) {
    parts.push(figure("Its partners moved", format.r(found.partner), "64 held-out neurons",
      `Correlation of the maps of the neurons of ${found.judge} that see what this generator's neurons see, with their maps before, moved as asked. 1 is perfect.`));
  }
  if (found.realism !== null) {
    const far = found.realism > 95;
    parts.push(figure("Further out than", `${found.realism.toFixed(0)} %`, `of natural pictures: latent ${found.latent.toFixed(0)}, picture ${found.picture.toFixed(0)}`,
      "Share of the generator's own pictures that lie less far out than this one. Above 95 the picture is rarer than 19 of 20.", far));
    verdict.classList.toggle("warn", far || fell);
    verdict.replaceChildren(...(fell ? [`${SHORT} `] : []), ...(far ? [
      "Further out than 95 % of this generator's own pictures: undo, make a smaller change, or raise the pull. ",
      last ? h("button.r-button.small", { type: "button", onclick: strengths }, "Find the strongest that stays natural") : null,
    ].filter(Boolean) : []));
  } else verdict.textContent = entry.note;
  box.replaceChildren(...parts);
}

/** Small previews are read from an early layer; how far their colours are off was measured. */
function sketched(off) {
  part("sketch").hidden = off === null;
  if (off !== null) part("sketch").textContent = `Until an edit is done you see a small sketch, read from an early layer: its colours are typically ${format.share(off)} off. The finished picture is drawn in full.`;
}

/* --- asking --- */

function say(text, wrong = false) {
  part("said").textContent = text;
  part("said").classList.toggle("wrong", wrong);
}

const complain = (error) => say(`${error.message} ${error.hint ?? ""}`, true);

/** What is known of the picture that another one takes the place of. */
function forget() {
  running = 0;
  clearTimeout(timer);
  busy(false);
  last = null;
  put("edit-frontier", null);
}

on("edit-open", async (wanted) => {
  if (!wanted) return;
  say("Drawing.");
  forget();
  busy(true);
  try {
    take(await call(server.open, { ...wanted, ...me() }));
    say("");
  } catch (error) {
    complain(error);
  }
  busy(false);
});

/* Another tab has opened a page for this one, such as an inverted photo. */
on("edit-adopt", async (found) => {
  if (!found?.page || found.page === page) return;
  try {
    const old = page;
    const adopted = await call(server.view, me(found.page));
    forget();
    take(adopted);
    if (old) await call(server.close, { page: old });
    say("");
  } catch (error) {
    complain(error);
  }
});

/* A strength out of those that were tried. */
on("edit-take", async (point) => {
  if (point === null || !page) return;
  try {
    take(await call(server.take, { page, point }));
    say("Taken. Undo goes back.");
  } catch (error) {
    complain(error);
  }
});

on("edit-ask", (gesture) => {
  if (!gesture || !page) return;
  asked.waiting = gesture;
  clearTimeout(asked.timer);
  const quiet = performance.now() - asked.last > SETTLE * 3;
  asked.last = performance.now();
  if (quiet) send();
  else asked.timer = setTimeout(send, element.dataset.busy === "yes" ? SETTLE_BUSY : SETTLE);
});

async function send() {
  const gesture = asked.waiting;
  asked.waiting = null;
  if (!gesture) return;
  asked.calls += 1;
  element.dataset.calls = String(asked.calls);
  const form = get("edit-form") ?? { choice: { kind: "usual" } };
  const request = { edits: gesture.edits, choice: { ...form.choice, ...gesture.place }, settings: form.settings, source_seed: form.source_seed, source_recipe: form.source_recipe };
  last = { request, at: view.at };
  put("edit-frontier", null);
  start(server.ask, { page, request });
}

/** Ask for a task of this page and follow it; what comes of it goes to `finish`. */
async function start(ask, payload, ended = finish) {
  const begun = performance.now();
  busy(true);
  say("Asked.");
  try {
    const { ticket } = await call(ask, payload);
    running = ticket;
    seen = 0;
    follow(ticket, begun, ended);
  } catch (error) {
    busy(false);
    back();
    complain(error);
  }
}

/** The newest edit again, at several strengths beside each other. */
async function strengths() {
  if (!last) return;
  if (view.at !== last.at) await go(last.at);
  start(server.strengths, { page, request: last.request }, async () => {
    put("edit-frontier", await call(server.frontier, { page }));
    say("Choose a strength below; nothing is changed before you do.");
  });
}

const film = (kind) => start(server.film, { page, kind }, async () => {
  const made = await call(server.film_file, { page });
  save(`${stem()}.${made.kind}`, await (await fetch(made.film)).blob(), `image/${made.kind}`);
  say("The film is saved.");
});

/** The last good picture, where a preview stood. */
const back = () => view && put("edit-view", view);

async function follow(ticket, begun, ended) {
  if (ticket !== running) return;
  try {
    const now = await call(server.progress, { page, seen });
    if (ticket !== running || now.ticket !== ticket) return;
    if (now.frame > seen && now.picture && now.state === "running") {
      if (!seen) element.dataset.firstMs = (performance.now() - begun).toFixed(0);
      seen = now.frame;
      put("edit-frame", { picture: now.picture, preview: now.preview });
      sketched(now.off);
    }
    part("bar").classList.toggle("waiting", now.state === "queued" || now.step === 0);
    part("bar").firstElementChild.style.width = now.steps ? `${(100 * now.step) / now.steps}%` : "0";
    if (now.state === "queued" || now.state === "running") {
      say(now.state === "queued" ? `Waiting for the device, ${now.place} in front.`
        : now.note ? `${now.note} ${now.step} of ${now.steps}`
        : now.step ? `Step ${now.step} of ${now.steps}${now.left === null ? "" : `, ${format.seconds(now.left)} left`}` : "Getting ready; the first edit of a generator looks at some of its pictures.");
      timer = setTimeout(() => follow(ticket, begun, ended), LOOK);
      return;
    }
    if (now.state === "done" && ended !== finish) {
      running = 0;
      busy(false);
      back();
      await ended();
    } else finish(now, begun);
  } catch (error) {
    busy(false);
    back();
    complain(error);
  }
}

function finish(now, begun) {
  running = 0;
  busy(false);
  if (now.state === "done") {
    element.dataset.doneMs = (performance.now() - begun).toFixed(0);
    take(now.view);
    say(`Done in ${format.seconds((performance.now() - begun) / 1000)}.`);
    lookAgain();
  } else {
    back();
    say(now.state === "failed" ? `${now.message} ${now.hint}` : "Stopped. The picture is as it was.", now.state === "failed");
  }
}

/** Numbers come later than the picture: look until they are there. */
async function lookAgain() {
  const entry = view?.entries[view.at];
  if (!entry || running || entry.numbers?.realism != null || !entry.note) return;
  await new Promise((resolve) => setTimeout(resolve, LOOK_NUMBERS));
  if (running || !page) return;
  try {
    const next = await call(server.view, { page });
    if (running || next.page !== page) return;
    view = next;
    numbers(next.entries[next.at]);
    lookAgain();
  } catch (error) {
    complain(error);
  }
}

function busy(now) {
  part("stop").hidden = !now;
  element.dataset.busy = now ? "yes" : "no";
  if (!now) {
    part("bar").classList.remove("waiting");
    part("bar").firstElementChild.style.width = "0";
  } else part("bar").classList.add("waiting");
}

/* --- history and files --- */

async function go(to) {
  running = 0;
  clearTimeout(timer);
  busy(false);
  try {
    take(await call(server.go, { page, to }));
    say("");
    lookAgain();
  } catch (error) {
    complain(error);
  }
}

part("strengths").addEventListener("click", strengths);
part("webp").addEventListener("click", () => film("webp"));
part("gif").addEventListener("click", () => film("gif"));
part("source").addEventListener("click", async () => {
  try {
    const recipe = await call(server.recipe, { page });
    const label = `${view.entries[0].label}${view.at ? ` after ${view.at === 1 ? "an edit" : `${view.at} edits`}` : ""}`;
    put("edit-source", { recipe, label });
    say("Remembered. Open another picture, then copy from this one or blend towards it.");
  } catch (error) {
    complain(error);
  }
});
part("undo").addEventListener("click", () => go(view.at - 1));
part("redo").addEventListener("click", () => go(view.at + 1));
part("reset").addEventListener("click", () => go(0));
part("stop").addEventListener("click", async () => {
  part("stop").disabled = true;
  try {
    await call(server.stop, { page });
  } catch (error) {
    complain(error);
  }
  part("stop").disabled = false;
});
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || !element.offsetParent) return;
  if (event.target.matches?.("input:not([type=range]), textarea")) return;
  event.preventDefault();
  if (event.shiftKey) part("redo").click();
  else part("undo").click();
});

const stem = () => `${view.generator}-seed${view.seed}`;

part("recipe").addEventListener("click", async () => {
  try {
    save(`${stem()}-recipe.json`, JSON.stringify(await call(server.recipe, { page }), null, 1), "application/json");
  } catch (error) {
    complain(error);
  }
});

part("png").addEventListener("click", async () => {
  try {
    const { png } = await call(server.png, { page });
    save(`${stem()}.png`, await (await fetch(png)).blob(), "image/png");
  } catch (error) {
    complain(error);
  }
});

part("load").addEventListener("change", async () => {
  const [file] = part("load").files;
  part("load").value = "";
  if (!file) return;
  say("Reading the recipe.");
  try {
    if (file.size > 20e6) throw new window.rosetta.Refusal("This file is too large for a recipe.");
    let recipe;
    try {
      recipe = JSON.parse(await file.text());
    } catch {
      throw new window.rosetta.Refusal("This file is no recipe: it is not JSON.", "Choose a downloaded recipe.");
    }
    const loaded = await call(server.load, { page, recipe });
    forget();
    take(loaded);
    say(`Loaded ${file.name}.`);
  } catch (error) {
    complain(error);
  }
});

setInterval(() => page && server.alive(me()).catch(() => {}), ALIVE);
farewell(() => page && server.close({ page }));
