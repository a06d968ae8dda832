/* The picture and what a person does to it. Everything is drawn on a canvas above it, so frames that
   arrive meanwhile do not disturb a gesture. Positions are fractions of the pad, origin top left. */
const { h, on, put, explain, before } = window.rosetta;
const part = (id) => element.querySelector(`[data-id="${id}"]`);
const pad = part("pad");
const canvas = part("overlay");
const context = canvas.getContext("2d");
const live = part("live");

const ZOOM = [0.5, 2]; // the engine refuses what lies outside
const WHEEL_PAUSE = 300; // ms without a turn of the wheel that end the gesture
const NEAR = 0.008; // a shorter drag is a click
const IDLE = "Drag to shift, turn the wheel to zoom.";

let mode = "shift";
let drag = null; // {x0, y0, x1, y1} of a shift that is being made
let zoom = null; // {factor, x, y}
let region = null; // corners of the chosen region
let drawing = null; // corners of a region that is being drawn
let carried = null; // {x0, y0, x1, y1} of a region that is being moved: a paste
let pointers = new Map(); // that are down, for pinching
let pinch = null; // {distance, factor} when the second finger came down
let hover = null; // where the pointer rests on the pad: keys zoom about it
let wheelTimer = 0;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function place(event) {
  const box = pad.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
}

/* --- asking --- */

function ask(edits, at, copied = false) {
  pad.dataset.asked = JSON.stringify(edits);
  put("edit-ask", { edits, place: at, copied });
}

function release() {
  const asked = [];
  let at = { x: 0.5, y: 0.5 };
  if (drag && Math.hypot(drag.x1 - drag.x0, drag.y1 - drag.y0) > NEAR) {
    asked.push({ kind: "shift", dx: drag.x1 - drag.x0, dy: drag.y1 - drag.y0 });
    at = { x: drag.x0, y: drag.y0 };
  }
  if (zoom && Math.abs(zoom.factor - 1) > 0.005) {
    asked.push({ kind: "zoom", factor: zoom.factor, x: zoom.x, y: zoom.y });
    if (asked.length === 1) at = { x: zoom.x, y: zoom.y };
  }
  if (asked.length) ask(asked, at);
  else if (drag) put("edit-point", { x: drag.x0, y: drag.y0 });
  drag = zoom = null;
  draw();
}

function cancel() {
  clearTimeout(wheelTimer);
  drag = zoom = drawing = carried = null;
  setRegion(null);
  draw();
}

function setRegion(corners) {
  region = corners;
  put("edit-region", corners);
}

/* --- pointer --- */

const inside = ([x, y], corners) => {
  let odd = false;
  corners.forEach(([x0, y0], i) => {
    const [x1, y1] = corners[(i + 1) % corners.length];
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) * (x1 - x0)) / (y1 - y0)) odd = !odd;
  });
  return odd;
};

pad.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  pad.focus({ preventScroll: true });
  try {
    pad.setPointerCapture(event.pointerId);
  } catch {
    // A pointer that is gone already cannot be captured: its release ends the gesture all the same.
  }
  const [x, y] = place(event);
  pointers.set(event.pointerId, [x, y]);
  if (pointers.size === 2) return beginPinch();
  if (mode === "shift") drag = { x0: x, y0: y, x1: x, y1: y };
  else if (region && inside([x, y], region)) carried = { x0: x, y0: y, x1: x, y1: y };
  else drawing = [[x, y]];
  draw();
});

pad.addEventListener("pointermove", (event) => {
  const [x, y] = (hover = place(event));
  if (!pointers.has(event.pointerId)) return;
  pointers.set(event.pointerId, [x, y]);
  if (pinch) return movePinch();
  if (drag) [drag.x1, drag.y1] = [x, y];
  else if (carried) [carried.x1, carried.y1] = [x, y];
  else if (drawing && mode === "lasso") {
    const [lastX, lastY] = drawing.at(-1);
    if (Math.hypot(x - lastX, y - lastY) > 0.006) drawing.push([x, y]);
  } else if (drawing) {
    const [x0, y0] = drawing[0];
    drawing = [[x0, y0], [x, y0], [x, y], [x0, y]];
  }
  draw();
});

pad.addEventListener("pointerup", (event) => {
  if (!pointers.delete(event.pointerId)) return;
  if (pinch) {
    if (pointers.size) return;
    pinch = null;
    return release();
  }
  if (drag) release();
  else if (carried) drop();
  else if (drawing) closeRegion();
});

pad.addEventListener("pointerleave", () => (hover = null));

pad.addEventListener("pointercancel", (event) => {
  pointers.delete(event.pointerId);
  pinch = drag = zoom = drawing = carried = null;
  draw();
});

function beginPinch() {
  const [[x0, y0], [x1, y1]] = pointers.values();
  pinch = { distance: Math.max(Math.hypot(x1 - x0, y1 - y0), 0.02) };
  drag = drawing = carried = null;
  zoom = { factor: 1, x: (x0 + x1) / 2, y: (y0 + y1) / 2 };
  draw();
}

function movePinch() {
  if (pointers.size < 2) return;
  const [[x0, y0], [x1, y1]] = pointers.values();
  zoom.factor = clamp(Math.hypot(x1 - x0, y1 - y0) / pinch.distance, ...ZOOM);
  draw();
}

function closeRegion() {
  let corners = drawing;
  drawing = null;
  if (corners.length < 3) {
    // A click is a region of one cell, wherever the maps are that fine.
    const [[x, y]] = corners;
    corners = [[x - 0.015, y - 0.015], [x + 0.015, y - 0.015], [x + 0.015, y + 0.015], [x - 0.015, y + 0.015]];
  }
  setRegion(corners);
  draw();
}

function drop() {
  const [dx, dy] = [carried.x1 - carried.x0, carried.y1 - carried.y0];
  carried = null;
  const left = Math.min(...region.map(([x]) => x));
  const top = Math.min(...region.map(([, y]) => y));
  if (Math.hypot(dx, dy) > NEAR) {
    ask([{ kind: "paste", region, x: left + dx, y: top + dy }], { x: left + dx, y: top + dy }, true);
    setRegion(null);
  }
  draw();
}

/* --- wheel and keys --- */

pad.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = place(event);
  turn(Math.exp(-event.deltaY / 600), zoom?.x ?? x, zoom?.y ?? y);
  clearTimeout(wheelTimer);
  wheelTimer = setTimeout(release, WHEEL_PAUSE);
}, { passive: false });

function turn(by, x, y) {
  zoom = { factor: clamp((zoom?.factor ?? 1) * by, ...ZOOM), x, y };
  draw();
}

pad.addEventListener("keydown", (event) => {
  const size = event.shiftKey ? 0.1 : 0.02;
  const moves = { ArrowLeft: [-size, 0], ArrowRight: [size, 0], ArrowUp: [0, -size], ArrowDown: [0, size] };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (moves[event.key]) {
    drag ??= { x0: 0.5, y0: 0.5, x1: 0.5, y1: 0.5 };
    drag.x1 = clamp(drag.x1 + moves[event.key][0], 0, 1);
    drag.y1 = clamp(drag.y1 + moves[event.key][1], 0, 1);
    draw();
  } else if (["+", "=", "-"].includes(event.key)) {
    const [x, y] = zoom ? [zoom.x, zoom.y] : hover ?? [0.5, 0.5];
    turn(event.key === "-" ? 1 / 1.1 : 1.1, x, y);
  } else if (event.key === "Enter") release();
  else if (event.key === "Escape") cancel();
  else return;
  event.preventDefault();
});

/* --- drawing --- */

const colour = () => getComputedStyle(pad).getPropertyValue("--r-accent").trim() || "#1d55d6";

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const { width: W, height: H } = pad.getBoundingClientRect();
  if (canvas.width !== Math.round(W * ratio) || canvas.height !== Math.round(H * ratio)) {
    canvas.width = Math.round(W * ratio);
    canvas.height = Math.round(H * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, W, H);
  if (drag || zoom) ghost(W, H);
  if (drag) arrow(W, H, drag);
  outline(W, H, drawing ?? region);
  if (carried && region) carry(W, H);
  pad.dataset.overlay = drag || zoom || drawing || carried ? "yes" : "no";
  say();
}

/** The picture where it would be: what will be asked, before it is. */
function ghost(W, H) {
  const image = part("picture");
  const s = zoom?.factor ?? 1;
  const [px, py] = [(zoom?.x ?? 0.5) * W, (zoom?.y ?? 0.5) * H];
  const [dx, dy] = drag ? [(drag.x1 - drag.x0) * W, (drag.y1 - drag.y0) * H] : [0, 0];
  const box = [px - px * s + dx * s, py - py * s + dy * s, W * s, H * s];
  if (image.complete && image.naturalWidth) {
    context.fillStyle = "rgb(10 12 16 / 60%)"; // what is there now steps back
    context.fillRect(0, 0, W, H);
    context.globalAlpha = 0.85;
    context.drawImage(image, ...box);
    context.globalAlpha = 1;
  }
  context.strokeStyle = colour();
  context.lineWidth = 2;
  context.setLineDash([7, 5]);
  context.strokeRect(...box);
  context.setLineDash([]);
}

function arrow(W, H, { x0, y0, x1, y1 }) {
  const [ax, ay, bx, by] = [x0 * W, y0 * H, x1 * W, y1 * H];
  const angle = Math.atan2(by - ay, bx - ax);
  for (const [style, width] of [["rgb(255 255 255 / 90%)", 6], [colour(), 3]]) {
    context.strokeStyle = context.fillStyle = style;
    context.lineWidth = width;
    context.lineCap = "round";
    context.beginPath();
    context.arc(ax, ay, 4, 0, 7);
    context.moveTo(ax, ay);
    context.lineTo(bx, by);
    for (const turned of [2.6, -2.6]) {
      context.moveTo(bx, by);
      context.lineTo(bx + 15 * Math.cos(angle + turned), by + 15 * Math.sin(angle + turned));
    }
    context.stroke();
  }
}

function trace(W, H, corners, dx = 0, dy = 0) {
  context.beginPath();
  corners.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"]((x + dx) * W, (y + dy) * H));
  context.closePath();
}

function outline(W, H, corners) {
  if (!corners || corners.length < 2) return;
  trace(W, H, corners);
  context.lineWidth = 4;
  context.strokeStyle = "rgb(255 255 255 / 90%)";
  context.stroke();
  context.lineWidth = 2;
  context.strokeStyle = colour();
  context.stroke();
}

function carry(W, H) {
  const [dx, dy] = [carried.x1 - carried.x0, carried.y1 - carried.y0];
  context.save();
  trace(W, H, region, dx, dy);
  context.clip();
  context.globalAlpha = 0.85;
  context.drawImage(part("picture"), dx * W, dy * H, W, H);
  context.restore();
  trace(W, H, region, dx, dy);
  context.setLineDash([6, 4]);
  context.stroke();
  context.setLineDash([]);
}

function say() {
  const percent = (value) => `${Math.round(100 * value)} %`.replace("-", "−");
  const words = [];
  if (drag) words.push(`right ${percent(drag.x1 - drag.x0)}, down ${percent(drag.y1 - drag.y0)}`);
  if (zoom) words.push(`zoom ×${zoom.factor.toFixed(2)}`);
  if (carried) words.push("copy to here");
  if (region && !carried) words.push("region chosen: change its strength at the side, or drag it elsewhere to copy it");
  live.textContent = words.join(", ") || (mode === "shift" ? IDLE : "Draw around a part of the picture.");
}

/* --- the picture --- */

let base = "";
const compare = before(part("compare"), part("before"), () => base);

function show(picture, preview) {
  const image = part("picture");
  image.hidden = false;
  image.src = picture;
  part("badge").hidden = !preview;
  if (preview) part("badge").textContent = preview;
  pad.dataset.frames = String(Number(pad.dataset.frames ?? 0) + 1);
}

on("edit-view", (view) => {
  if (!view) return;
  show(view.picture, "");
  part("picture").alt = `The picture: ${view.entries[view.at].label}`;
  base = view.first;
  pad.dataset.at = String(view.at);
  compare();
});
on("edit-frame", (frame) => frame && show(frame.picture, frame.preview ? "Preview" : ""));

/* --- tools --- */

const tool = (words, label, edit) => explain(
  h("button.r-button.small", { type: "button", "aria-label": label, onclick: () => ask([edit], { x: 0.5, y: 0.5 }) }, words), label);
part("tools").append(
  tool("−", "Zoom out by a fifth", { kind: "zoom", factor: 0.8, x: 0.5, y: 0.5 }),
  tool("+", "Zoom in by a quarter", { kind: "zoom", factor: 1.25, x: 0.5, y: 0.5 }),
  tool("↺", "Turn 10° to the left", { kind: "rotate", degrees: -10, x: 0.5, y: 0.5 }),
  tool("↻", "Turn 10° to the right", { kind: "rotate", degrees: 10, x: 0.5, y: 0.5 }),
  tool("Mirror", "Swap left and right", { kind: "mirror" }));

part("modes").addEventListener("change", (event) => {
  mode = event.target.value;
  if (mode === "shift") setRegion(null);
  draw();
});
on("edit-region-clear", (now) => now && cancel());
new ResizeObserver(draw).observe(pad);
draw();
