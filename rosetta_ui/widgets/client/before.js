/* Before and after in one frame: a slider uncovers the picture that lies above. */
(() => {
  "use strict";

  /** Let a range input (0 to 100) uncover `over` from the left.

      `address` gives what `over` shows, or an empty text; `edge` is a line at the border of the two.
      Returns a function that paints again, for when the pictures have changed. */
  function before(range, over, address, edge = null) {
    function paint() {
      const share = Number(range.value);
      const shown = address();
      over.hidden = !share || !shown;
      if (shown && over.src !== shown) over.src = shown;
      over.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      if (edge) {
        edge.hidden = !shown;
        edge.style.left = `${share}%`;
      }
    }
    range.addEventListener("input", paint);
    return paint;
  }

  Object.assign(window.rosetta, { before });
})();
