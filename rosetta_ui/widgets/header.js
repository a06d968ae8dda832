/* Name of the product, the status chip and the switch between light and dark. */
const { put, get, call, icon, isDark, setTheme, explain } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const chip = part("chip");

/* --- light and dark --- */

function drawTheme() {
  part("theme").replaceChildren(icon(isDark() ? "sun" : "moon"));
}
part("theme").addEventListener("click", () => {
  setTheme(isDark() ? "light" : "dark");
  drawTheme();
});
drawTheme();

/* --- readiness: every second while something loads, rarely afterwards --- */

let words = "";

function show({ stage, text, fraction }) {
  if (chip.dataset.stage !== stage) chip.dataset.stage = stage;
  if (text !== words) part("text").textContent = words = text;
  chip.title = text;
  const busy = stage !== "ready" && stage !== "failed" && fraction !== null;
  part("bar").hidden = !busy;
  if (busy) part("bar").firstElementChild.style.width = `${100 * fraction}%`;
  if (get("readiness")?.stage !== stage) put("readiness", { stage, text });
}

async function poll() {
  let wait = 1000;
  try {
    const now = await call(server.readiness);
    show(now);
    if (now.stage === "ready" || now.stage === "failed") wait = 15000;
  } catch (error) {
    show({ stage: "failed", text: error.message, fraction: null });
    wait = 5000;
  }
  if (element.isConnected) setTimeout(poll, document.hidden ? 10000 : wait);
}
poll();
