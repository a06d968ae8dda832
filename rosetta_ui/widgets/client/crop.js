/* A square that a person chooses in a picture, by mouse, touch, wheel or keys.

   Everything is counted in pixels of the picture; the style sheet gets shares of it, so the square
   stays where it is when the picture is shown larger or smaller. */
(() => {
  "use strict";

  const SMALLEST = 0.08; // of the shorter side: less is a blur at any generator's size
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

  /** Make `box` movable over `stage`, which shows the picture; its `[data-corner]`s resize it.

      `onchange` gets {x, y, side} after every change. Returns {set, propose, get, clear}: `propose`
      puts another square where the first one is still untouched, and tells whether it did. */
  function cropper(stage, box, onchange) {
    let size = null; // {width, height} of the picture
    let usual = null; // the square that the app proposed
    let square = null;
    let touched = false; // a person has moved it
    let grip = null; // what is held: {corner, x, y, from}
    const pointers = new Map();
    let pinch = 0; // distance of two fingers, over the side of the square

    function set(width, height, proposed) {
      size = { width, height };
      usual = { ...proposed };
      touched = false;
      take(usual);
    }

    function propose(proposed) {
      usual = { ...proposed };
      if (!touched && !pointers.size) take(usual);
      return !touched && !pointers.size;
    }

    function clear() {
      size = square = grip = null;
      pointers.clear();
      box.hidden = true;
    }

    function take({ x, y, side }) {
      const shorter = Math.min(size.width, size.height);
      const fits = clamp(side, Math.min(shorter, Math.max(1, SMALLEST * shorter)), shorter);
      square = { x: clamp(x, 0, size.width - fits), y: clamp(y, 0, size.height - fits), side: fits };
      box.hidden = false;
      box.style.left = `${(100 * square.x) / size.width}%`;
      box.style.top = `${(100 * square.y) / size.height}%`;
      box.style.width = `${(100 * square.side) / size.width}%`;
      onchange({ ...square });
    }

    /** The same for what a person does. */
    function move(to) {
      touched = true;
      take(to);
    }

    /** Another side about the middle of the square. */
    function resize(side) {
      const middle = [square.x + square.side / 2, square.y + square.side / 2];
      const shorter = Math.min(size.width, size.height);
      const fits = clamp(side, Math.min(shorter, SMALLEST * shorter), shorter);
      move({ x: middle[0] - fits / 2, y: middle[1] - fits / 2, side: fits });
    }

    const place = (event) => {
      const frame = stage.getBoundingClientRect();
      return [
        ((event.clientX - frame.left) * size.width) / frame.width,
        ((event.clientY - frame.top) * size.height) / frame.height,
      ];
    };

    const apart = () => {
      const [[x0, y0], [x1, y1]] = pointers.values();
      return Math.max(Math.hypot(x1 - x0, y1 - y0), 1);
    };

    stage.addEventListener("pointerdown", (event) => {
      if (event.button || !square) return;
      event.preventDefault();
      box.focus({ preventScroll: true });
      try {
        stage.setPointerCapture(event.pointerId);
      } catch {
        // A pointer that is gone already cannot be captured: its release ends the gesture anyway.
      }
      const [x, y] = place(event);
      pointers.set(event.pointerId, [x, y]);
      if (pointers.size === 2) {
        pinch = apart() / square.side;
        grip = null;
        return;
      }
      const corner = event.target.dataset?.corner ?? "";
      if (!corner && !box.contains(event.target)) {
        move({ ...square, x: x - square.side / 2, y: y - square.side / 2 });
      }
      grip = { corner, x, y, from: { ...square } };
    });

    stage.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId) || !square) return;
      const [x, y] = place(event);
      pointers.set(event.pointerId, [x, y]);
      if (pointers.size === 2) resize(apart() / pinch);
      else if (grip?.corner) stretch(x, y);
      else if (grip) move({ ...grip.from, x: grip.from.x + x - grip.x, y: grip.from.y + y - grip.y });
    });

    /** Pull one corner; the opposite one stays. */
    function stretch(x, y) {
      const { corner, from } = grip;
      const right = corner.includes("e");
      const lower = corner.includes("s");
      const [fixedX, fixedY] = [right ? from.x : from.x + from.side, lower ? from.y : from.y + from.side];
      const wide = right ? size.width - fixedX : fixedX;
      const high = lower ? size.height - fixedY : fixedY;
      const shorter = Math.min(size.width, size.height);
      const pulled = Math.max(right ? x - fixedX : fixedX - x, lower ? y - fixedY : fixedY - y);
      const side = clamp(pulled, SMALLEST * shorter, Math.min(wide, high));
      move({ x: right ? fixedX : fixedX - side, y: lower ? fixedY : fixedY - side, side });
    }

    for (const kind of ["pointerup", "pointercancel"]) {
      stage.addEventListener(kind, (event) => {
        pointers.delete(event.pointerId);
        grip = null;
      });
    }

    stage.addEventListener(
      "wheel",
      (event) => {
        if (!square || event.ctrlKey) return;
        event.preventDefault();
        resize(square.side * Math.exp(event.deltaY / 900));
      },
      { passive: false },
    );

    box.addEventListener("keydown", (event) => {
      if (!square || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = (event.shiftKey ? 0.1 : 0.02) * Math.min(size.width, size.height);
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (moves[event.key]) {
        move({ ...square, x: square.x + moves[event.key][0], y: square.y + moves[event.key][1] });
      } else if (event.key === "+" || event.key === "=") resize(square.side * 1.08);
      else if (event.key === "-") resize(square.side / 1.08);
      else if (event.key === "Home") move(usual);
      else return;
      event.preventDefault();
    });

    return { set, propose, clear, get: () => (square ? { ...square } : null) };
  }

  Object.assign(window.rosetta, { cropper });
})();
