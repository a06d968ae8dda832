/* A picture of what the large view shows, drawn by the browser for a person to keep. */
(() => {
  "use strict";
  const SIDE = 320;
  const GAP = 16;
  const TEXT = 46;

  const loaded = (address) =>
    new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("the picture could not be read"));
      image.src = address;
    });

  /** Draw figures side by side: {title, note, map: canvas or null} over one picture.

      Returns a promise of a PNG as a Blob. */
  async function sheet({ heading, picture, figures, opacity, raw }) {
    const image = await loaded(picture);
    const canvas = document.createElement("canvas");
    canvas.width = figures.length * SIDE + (figures.length + 1) * GAP;
    canvas.height = 40 + SIDE + TEXT + 2 * GAP;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(name).trim();
    context.fillStyle = colour("--r-panel");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = colour("--r-ink");
    context.font = "600 20px system-ui, sans-serif";
    context.fillText(heading, GAP, 34, canvas.width - 2 * GAP);
    figures.forEach((figure, i) => {
      const x = GAP + i * (SIDE + GAP);
      const y = 40 + GAP;
      if (!figure.map || !raw) context.drawImage(image, x, y, SIDE, SIDE);
      if (figure.map) {
        context.globalAlpha = raw ? 1 : opacity;
        context.imageSmoothingEnabled = !raw;
        context.drawImage(figure.map, x, y, SIDE, SIDE);
        context.globalAlpha = 1;
        context.imageSmoothingEnabled = true;
      }
      context.fillStyle = colour("--r-ink");
      context.font = "600 16px system-ui, sans-serif";
      context.fillText(figure.title, x, y + SIDE + 21, SIDE);
      context.fillStyle = colour("--r-soft");
      context.font = "14px ui-monospace, monospace";
      context.fillText(figure.note, x, y + SIDE + 41, SIDE);
    });
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  const SVG = "http://www.w3.org/2000/svg";

  function shape(tag, attributes, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
    node.append(...children);
    return node;
  }

  /** The same as an SVG that needs nothing beside it: words stay words, maps keep their own cells.

      Returns its text. Names reach it as text nodes, which the serialiser escapes. */
  function vector({ heading, picture, figures, opacity, raw }) {
    const width = figures.length * SIDE + (figures.length + 1) * GAP;
    const height = 40 + SIDE + TEXT + 2 * GAP;
    const style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(name).trim();
    const words = (x, y, size, fill, text, family = "system-ui, sans-serif", weight = 600) =>
      shape(
        "text",
        { x, y, fill, "font-family": family, "font-size": size, "font-weight": weight },
        document.createTextNode(text),
      );
    const box = (x, href, attributes) =>
      shape("image", { x, y: 40 + GAP, width: SIDE, height: SIDE, href, ...attributes });
    const drawn = figures.flatMap((figure, i) => {
      const x = GAP + i * (SIDE + GAP);
      const below = 40 + GAP + SIDE;
      const map = figure.map?.toDataURL("image/png");
      return [
        figure.map && raw ? null : box(x, picture, { preserveAspectRatio: "none" }),
        map
          ? box(x, map, {
              preserveAspectRatio: "none",
              opacity: raw ? 1 : opacity,
              style: raw ? "image-rendering: pixelated" : "",
            })
          : null,
        words(x, below + 21, 16, colour("--r-ink"), figure.title),
        words(x, below + 41, 14, colour("--r-soft"), figure.note, "ui-monospace, monospace", 400),
      ].filter(Boolean);
    });
    const page = shape(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}` },
      shape("title", {}, document.createTextNode(heading)),
      shape("rect", { width, height, fill: colour("--r-panel") }),
      words(GAP, 34, 20, colour("--r-ink"), heading),
      ...drawn,
    );
    return new XMLSerializer().serializeToString(page);
  }

  Object.assign(window.rosetta, { sheet, vector });
})();
