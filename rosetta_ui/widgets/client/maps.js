/* Activation maps in the page: raw numbers in, coloured pixels out. No request is made to repaint. */
(() => {
  "use strict";
  const { put, get, on } = window.rosetta;

  /* Further colour tables, each a straight walk in OKLCH: lightness rises evenly, so equal steps of
     activation look equally large, and the map still reads when printed in grey. The table of the
     exported pictures, "fire", is given by the server.
     [lightness, chroma, hue] at the low end, the middle and the high end. */
  const WALKS = {
    sea: [
      [0.2, 0.12, 292],
      [0.6, 0.13, 195],
      [0.95, 0.15, 105],
    ],
    grey: [
      [0.12, 0, 0],
      [0.55, 0, 0],
      [0.98, 0, 0],
    ],
  };

  function fromOklch(lightness, chroma, hue) {
    const a = chroma * Math.cos((hue * Math.PI) / 180);
    const b = chroma * Math.sin((hue * Math.PI) / 180);
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    return [
      4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
      -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
      -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
    ];
  }

  /** The nearest colour of this lightness and hue that a screen can show. */
  function shown(lightness, chroma, hue) {
    let linear = fromOklch(lightness, chroma, hue);
    while (chroma > 0 && linear.some((v) => v < -1e-4 || v > 1.0001)) {
      chroma -= 0.002;
      linear = fromOklch(lightness, Math.max(chroma, 0), hue);
    }
    return linear.map((v) => {
      const x = Math.min(1, Math.max(0, v));
      return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
    });
  }

  function build([low, middle, high]) {
    const table = new Uint8ClampedArray(256 * 3);
    for (let i = 0; i < 256; i += 1) {
      const t = i / 255;
      const mix = (k) =>
        t < 0.5
          ? low[k] + (middle[k] - low[k]) * 2 * t
          : middle[k] + (high[k] - middle[k]) * (2 * t - 1);
      const lightness = low[0] + (high[0] - low[0]) * t;
      table.set(shown(lightness, mix(1), mix(2)), 3 * i);
    }
    return table;
  }

  const tables = Object.fromEntries(Object.entries(WALKS).map(([name, w]) => [name, build(w)]));
  tables.fire = Uint8ClampedArray.from(window.rosettaColours);

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);

  /** Raw activations [0, 1, …] scaled so that low is 0 and high is 255. */
  function levels(raw, low, high) {
    const scale = high > low ? 255 / (high - low) : 0;
    return Uint8ClampedArray.from(raw, (v) => (v - low) * scale);
  }

  /** Weights of the four neighbours in a Catmull-Rom spline, for each of `side` output positions. */
  function weights(size, side) {
    return Array.from({ length: side }, (_, i) => {
      const at = ((i + 0.5) * size) / side - 0.5;
      const first = Math.floor(at);
      const t = at - first;
      const pull = [
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
      ];
      return pull.map((w, k) => [Math.min(size - 1, Math.max(0, first - 1 + k)), w]);
    });
  }

  /** A map enlarged to side × side. Bilinear enlargement of 7 × 7 cells shows stars, not blobs. */
  function enlarge(map, width, height, side) {
    const across = weights(width, side);
    const down = weights(height, side);
    const rows = new Float32Array(height * side);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < side; x += 1) {
        let sum = 0;
        for (const [from, w] of across[x]) sum += w * map[y * width + from];
        rows[y * side + x] = sum;
      }
    }
    const out = new Uint8ClampedArray(side * side);
    for (let y = 0; y < side; y += 1) {
      for (let x = 0; x < side; x += 1) {
        let sum = 0;
        for (const [from, w] of down[y]) sum += w * rows[from * side + x];
        out[y * side + x] = sum;
      }
    }
    return out;
  }

  /** Paint one map (0 to 255) into a canvas; the style sheet stretches it over its tile.

      Raw maps are painted cell by cell. Over a picture a map is enlarged to `side` pixels, and a
      cell is as opaque as it is active, so that the picture stays visible where the unit is
      silent; opacity itself is a style variable and needs no painting. */
  function paint(canvas, map, width, height, view, side = 0) {
    const overlay = view.mode !== "raw";
    if (overlay && side > Math.max(width, height)) {
      map = enlarge(map, width, height, side);
      width = height = side;
    }
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    const table = tables[view.colours] ?? tables.sea;
    const cut = 255 * view.threshold;
    for (let i = 0; i < width * height; i += 1) {
      const v = map[i];
      pixels.data[4 * i] = table[3 * v];
      pixels.data[4 * i + 1] = table[3 * v + 1];
      pixels.data[4 * i + 2] = table[3 * v + 2];
      const opaque = overlay ? 255 * Math.min(1, 1.15 * (v / 255) ** 0.8) : 255;
      pixels.data[4 * i + 3] = v < cut ? 0 : opaque;
    }
    context.putImageData(pixels, 0, 0);
  }

  // How maps are drawn, everywhere at once; a taste of the person, so kept in the browser.
  const USUAL = { opacity: 0.7, threshold: 0, mode: "overlay", colours: "sea", scale: "data" };

  function recalled() {
    try {
      return { ...USUAL, ...JSON.parse(localStorage.getItem("rosetta-view") ?? "{}") };
    } catch {
      return { ...USUAL }; // storage is refused, or holds what an older version wrote
    }
  }

  function setView(patch) {
    const before = get("view");
    const view = { ...before, ...patch };
    const changed = new Set(Object.keys(patch).filter((key) => before[key] !== view[key]));
    if (!changed.size) return;
    try {
      localStorage.setItem("rosetta-view", JSON.stringify(view));
    } catch {
      // A browser that refuses storage forgets the taste on reload, nothing else.
    }
    put("view", view, changed);
  }

  on("view", (view) => {
    const root = document.documentElement;
    root.style.setProperty("--map-opacity", view.mode === "raw" ? 1 : view.opacity);
    root.classList.toggle("r-raw", view.mode === "raw");
  });
  put("view", recalled());

  /** A few colours of a table as a CSS gradient, for the scale beside a map. */
  function gradient(name) {
    const table = tables[name] ?? tables.sea;
    const stops = [0, 51, 102, 153, 204, 255].map(
      (i) => `rgb(${table[3 * i]} ${table[3 * i + 1]} ${table[3 * i + 2]})`,
    );
    return `linear-gradient(90deg, ${stops.join(", ")})`;
  }

  Object.assign(window.rosetta, {
    maps: { tables, bytes, floats, levels, paint, gradient },
    setView,
  });
})();
