/* The job that the address names: progress, Stop, Resume. It goes on when the page is closed, and a
   page that is opened with the same address finds it again. */
const { h, on, put, get, select, call, format, icon, term, explainTerms } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const panel = element.querySelector(".job");
part("close").append(icon("cross"));
explainTerms(element);

let timer = 0;
let followed = "";
const LOOK = 350; // ms between looks at a running job
const LOOKS = 4; // columns of what was found: as many as fit on a phone

/* How the neurons are chosen belongs to the form, not to the match: it is kept in the browser. */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem("rosetta-jobs") ?? "{}");
  } catch {
    return {};
  }
}

on("started", (started) => {
  if (!started) return;
  const { rule, k, score } = started.request;
  const jobs = Object.entries({ ...remembered(), [started.job]: { rule, k, score } }).slice(-20);
  try {
    localStorage.setItem("rosetta-jobs", JSON.stringify(Object.fromEntries(jobs)));
  } catch {
    // Without storage, a reload chooses them in the usual way.
  }
});

const chosenFor = (job) => remembered()[job];

const KINDS = { add: "Adding a model", fetch: "Fetching weights" };

const STATES = {
  queued: ["Waiting", "accent"],
  running: ["Running", "accent"],
  stopped: ["Stopped", "warn"],
  done: ["Done", "good"],
  failed: ["Failed", "bad"],
};

function show(status) {
  panel.hidden = false;
  const [first, ...others] = status.models;
  part("title").textContent = first
    ? `${first} × ${others.length === 1 ? others[0] : `${others.length} backbones`}`
    : (KINDS[status.kind] ?? "Match");
  const [words, colour] = STATES[status.state];
  part("state").replaceChildren(h(`span.r-pill.${colour}`, {}, words));
  const live = status.state === "running" || status.state === "queued";
  const share = status.total ? status.done / status.total : 0;
  part("bar").classList.toggle("waiting", live && status.done === 0);
  part("bar").firstElementChild.style.width = `${100 * share}%`;
  part("bar").setAttribute("aria-valuenow", String(Math.round(100 * share)));
  const unit = status.unit;
  const amount = unit === "bytes" ? format.bytes : format.count;
  part("done").textContent = status.total
    ? `${amount(status.done)} of ${amount(status.total)}${unit === "bytes" ? "" : ` ${unit}`}`
    : "";
  part("rate").textContent = status.rate
    ? unit === "bytes"
      ? `${format.bytes(status.rate)}/s`
      : `${status.rate.toFixed(status.rate < 10 ? 1 : 0)} ${unit}/s`
    : "";
  part("left").textContent =
    live && status.left !== null ? `${format.seconds(status.left)} left` : "";
  part("place").textContent =
    status.state === "queued" && status.place
      ? `${status.place} job${status.place === 1 ? "" : "s"} ahead`
      : "";
  part("said").textContent = [status.message, status.hint].filter(Boolean).join(" ");
  part("said").classList.toggle("wrong", status.state === "failed");
  part("log").replaceChildren(...status.log.map((text) => h("li", {}, text)));
  part("stop").hidden = !live;
  part("stop").disabled = false;
  part("resume").hidden = !["stopped", "failed"].includes(status.state) || !status.resumes;
  showFound(status);
  part("open").hidden = !(status.state === "done" && status.result);
  part("close").hidden = live;
}

/* --- what was found so far: it grows while the match runs --- */

let told = ""; // what of it stands there: an explained word must not be redrawn under the pointer

function showFound({ job, found, best, state }) {
  const live = state !== "done" && found.length > 0;
  part("found").hidden = !live;
  if (!live) return;
  const now = JSON.stringify([job, found, best]);
  if (now === told) return;
  told = now;
  const last = found[found.length - 1];
  part("found-title").replaceChildren(
    `Found so far: ${format.count(last.rosetta)} `,
    term("Rosetta Neuron", "Rosetta Neurons"),
    ` after ${format.count(last.images)} images`,
  );
  const looks = found.slice(-LOOKS);
  const line = (words, value) => row("td", words, looks.map(value));
  part("looks").replaceChildren(
    h("thead", {}, row("th", "After images", looks.map((each) => each.images))),
    h(
      "tbody",
      {},
      line("Rosetta Neurons", (each) => each.rosetta),
      ...Object.keys(last.pairs).map((name, at) =>
        line([at ? "Pairs" : term("pairs", "Pairs"), ` with ${name}`], (each) => each.pairs[name]),
      ),
    ),
  );
  part("best").replaceChildren(
    ...best.map(([anchor, partners, score]) =>
      h(
        "li",
        { title: [anchor, ...Object.values(partners)].join("\n") },
        h("b.r-num", {}, format.r(score)),
        h("span.r-mono", {}, anchor),
      ),
    ),
  );
}

const row = (cell, words, values) =>
  h(
    "tr",
    {},
    h("th", { scope: "row" }, words),
    ...values.map((value) => h(cell, {}, format.count(value))),
  );

async function look() {
  clearTimeout(timer);
  const { job } = get("state");
  if (!job) {
    panel.hidden = true;
    return;
  }
  try {
    const status = await call(server.job, { job });
    if (job !== get("state").job) return;
    show(status);
    put("job", status);
    if (status.state === "running" || status.state === "queued")
      timer = setTimeout(look, document.hidden ? 2000 : LOOK);
    else if (followed === job) finished(status);
    if (status.state !== "done") followed = job;
  } catch (error) {
    panel.hidden = false;
    part("title").textContent = "Match";
    part("state").replaceChildren();
    part("said").textContent = `${error.message} ${error.hint ?? ""}`;
    part("said").classList.add("wrong");
    for (const id of ["stop", "resume", "open"]) part(id).hidden = true;
    part("close").hidden = false;
    if (/does not answer/.test(error.message)) timer = setTimeout(look, 3000);
  }
}

/** A job that was watched to its end: show what it found. */
function finished(status) {
  followed = "";
  put("models-changed", status.job);
  if (!status.result) return;
  put("results-changed", status.job);
  if (status.state !== "done") return;
  // The rule of the form is about this result, not about the one that was shown meanwhile.
  const { rule, k, score } = chosenFor(status.job) ?? get("state");
  select({ result: status.result, rule, k: k ?? 5, score });
}

part("stop").addEventListener("click", async () => {
  part("stop").disabled = true;
  try {
    await call(server.stop, { job: get("state").job });
  } finally {
    look();
  }
});

part("resume").addEventListener("click", async () => {
  try {
    const { job } = await call(server.resume, { job: get("state").job });
    followed = job;
    if (job === get("state").job) look();
    else select({ job });
  } catch (error) {
    part("said").textContent = `${error.message} ${error.hint ?? ""}`;
    part("said").classList.add("wrong");
  }
});

part("open").addEventListener("click", () => select({ result: get("job").result, tab: "gallery" }));
part("close").addEventListener("click", () => select({ job: "" }));

on("state", (state, changed) => {
  if (changed.has("job") || !changed.size) {
    if (changed.has("job") && state.job) followed = state.job;
    look();
  }
});
