/* A pencil sketch of a picture: dark lines where its brightness changes, white paper elsewhere. */
(() => {
  "use strict";

  const MOST = 512; // px of the longer side: lines of more pixels look no better
  const INK = 0.97; // share of pixels that lie below full black

  function brightness(image) {
    const scale = Math.min(1, MOST / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    const width = (canvas.width = Math.max(3, Math.round(image.naturalWidth * scale)));
    const height = (canvas.height = Math.max(3, Math.round(image.naturalHeight * scale)));
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const grey = new Float32Array(width * height);
    for (let i = 0; i < grey.length; i += 1) {
      grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    }
    return { canvas, context, grey, width, height };
  }

  /** Length of Sobel's gradient; the outermost pixels repeat their neighbours. */
  function gradient(grey, width, height) {
    const out = new Float32Array(grey.length);
    for (let y = 0; y < height; y += 1) {
      const rows = [Math.max(y - 1, 0), y, Math.min(y + 1, height - 1)].map((row) => row * width);
      for (let x = 0; x < width; x += 1) {
        const columns = [Math.max(x - 1, 0), x, Math.min(x + 1, width - 1)];
        const at = (row, column) => grey[rows[row] + columns[column]];
        const across = at(0, 2) + 2 * at(1, 2) + at(2, 2) - at(0, 0) - 2 * at(1, 0) - at(2, 0);
        const down = at(2, 0) + 2 * at(2, 1) + at(2, 2) - at(0, 0) - 2 * at(0, 1) - at(0, 2);
        out[y * width + x] = Math.hypot(across, down);
      }
    }
    return out;
  }

  /** Draw a loaded image as a sketch: a promise of a PNG as a Blob. */
  function sketch(image) {
    const { canvas, context, grey, width, height } = brightness(image);
    const edges = gradient(grey, width, height);
    const sorted = Float32Array.from(edges).sort();
    const black = Math.max(sorted[Math.floor(INK * (sorted.length - 1))], 1e-6);
    const pixels = context.createImageData(width, height);
    edges.forEach((edge, i) => {
      const paper = Math.round(255 * (1 - Math.min(1, edge / black)));
      pixels.data.set([paper, paper, paper, 255], 4 * i);
    });
    context.putImageData(pixels, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  Object.assign(window.rosetta, { sketch });
})();
