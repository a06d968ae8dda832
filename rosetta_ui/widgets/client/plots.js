/* Plots in the page: figures of the server in the page's colours. plotly.js is 4.8 MB, so it comes
   from this machine, once, and only when the first plot is about to be seen. */
(() => {
  "use strict";
  const { maps, h } = window.rosetta;

  const ROLES = {
    accent: "--r-accent", other: "--r-line-strong", null: "--r-soft", good: "--r-good",
    warn: "--r-warn", bad: "--r-bad",
  };

  let library = null;

  /** Load plotly.js from `address`; everybody who asks waits for the same script. */
  function plotly(address) {
    library ??= new Promise((resolve, reject) => {
      const script = h("script", { src: address });
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => {
        library = null;
        reject(new Error("The plots' script could not be loaded."));
      };
      document.head.append(script);
    });
    return library;
  }

  const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  function scale() {
    const table = maps.tables.sea;
    return Array.from({ length: 17 }, (_, i) => {
      const at = 3 * Math.round((255 * i) / 16);
      return [i / 16, `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`];
    });
  }

  /** One trace in the page's colours, with the point of the chosen neuron marked. */
  function dressed(trace, chosen) {
    const role = trace.meta?.role;
    if (role === "scale") {
      const bar = { ...trace.colorbar, tickfont: { color: colour("--r-soft") } };
      bar.title = { ...bar.title, font: { color: colour("--r-soft"), size: 12 } };
      return { ...trace, colorscale: scale(), colorbar: bar };
    }
    const ink = colour(ROLES[role] ?? "--r-accent");
    const own = { ...trace, marker: { ...trace.marker, color: ink }, line: { color: ink, width: 2 } };
    if (own.error_y) own.error_y = { ...own.error_y, color: ink };
    const at = chosen ? (trace.customdata ?? []).findIndex((c) => c?.neuron === chosen) : -1;
    if (at >= 0 && trace.type !== "heatmap") {
      own.selectedpoints = [at];
      own.selected = { marker: { color: colour("--r-bad"), opacity: 1 } };
      if (trace.type === "scatter") own.selected.marker.size = 13;
      own.unselected = { marker: { opacity: trace.marker?.opacity ?? trace.opacity ?? 1 } };
    }
    return own;
  }

  /** The row of a matrix of units that belongs to the chosen neuron. */
  function rowMark(data, chosen) {
    const [trace] = data;
    if (!chosen || trace?.type !== "heatmap" || !trace.customdata) return [];
    const at = trace.customdata.findIndex((row) => row[0]?.neuron === chosen);
    if (at < 0) return [];
    return [{ type: "rect", x0: -0.5, x1: trace.x.length - 0.5, y0: at - 0.5, y1: at + 0.5,
      line: { color: colour("--r-bad"), width: 2 }, fillcolor: "rgba(0,0,0,0)" }];
  }

  function layoutOf(figure, chosen, narrow) {
    const soft = colour("--r-soft");
    const axis = (given) => ({ ...given, gridcolor: colour("--r-line"), linecolor: colour("--r-line-strong"),
      zeroline: false, tickfont: { color: soft, size: narrow ? 10 : 12 }, title: { ...given?.title, standoff: 12, font: { color: soft, size: 12.5 } } });
    const given = figure.layout;
    const shapes = (given.shapes ?? []).map((shape) => ({ ...shape,
      line: { color: colour(shape.name === "equal" ? "--r-line-strong" : "--r-bad"), width: 1.5, dash: "dash" } }));
    return {
      ...given,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12.5, color: colour("--r-ink") },
      margin: { l: 8, r: 14, t: 34, b: 8 },
      xaxis: axis(given.xaxis),
      yaxis: axis(given.yaxis),
      shapes: [...shapes, ...rowMark(figure.data, chosen)],
      annotations: (given.annotations ?? []).map((note) => ({ ...note, font: { color: colour("--r-bad"), size: 12 } })),
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour("--r-ink") } },
      hoverlabel: { bgcolor: colour("--r-ink"), bordercolor: colour("--r-ink"), align: "left",
        font: { family: "ui-monospace, monospace", size: 12, color: colour("--r-panel") } },
      dragmode: false,
    };
  }

  const drawn = new Map(); // element → what it shows, so that another theme can draw it again

  async function draw(node, { figure, address, chosen = "", onpick = null }) {
    const Plotly = await plotly(address);
    drawn.set(node, { figure, address, chosen, onpick });
    const narrow = node.clientWidth < 520;
    const data = figure.data.map((trace) => dressed(trace, chosen));
    if (narrow) data.forEach((trace) => { if (trace.colorbar) trace.colorbar = { ...trace.colorbar, orientation: "h", y: 1.02, yanchor: "bottom", title: { ...trace.colorbar.title, side: "top" } }; });
    await Plotly.react(node, data, layoutOf(figure, chosen, narrow), { displayModeBar: false, responsive: true, doubleClick: false });
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", (event) => {
      const point = event.points.find((p) => p.customdata) ?? null;
      if (point && onpick) onpick(point.customdata);
    });
    node.dataset.drawn = String(Number(node.dataset.drawn ?? 0) + 1);
  }

  function clear(node) {
    drawn.delete(node);
    window.Plotly?.purge(node);
    node.replaceChildren();
    delete node.dataset.drawn;
  }

  const again = () => {
    for (const [node, what] of drawn) {
      if (node.isConnected) draw(node, what);
      else drawn.delete(node);
    }
  };

  const watch = () => {
    let dark = document.body.classList.contains("dark");
    new MutationObserver(() => {
      if (document.body.classList.contains("dark") === dark) return;
      dark = !dark;
      again();
    }).observe(document.body, { attributeFilter: ["class"] });
  };
  if (document.body) watch();
  else addEventListener("DOMContentLoaded", watch);

  /** Call `work` once, when `node` is about to be seen; gives a function that tells whether it was. */
  function whenSeen(node, work) {
    let seen = false;
    const observer = new IntersectionObserver((entries) => {
      if (seen || !entries.some((entry) => entry.isIntersecting)) return;
      seen = true;
      observer.disconnect();
      work();
    }, { rootMargin: "200px" });
    observer.observe(node);
    return () => seen;
  }

  Object.assign(window.rosetta, { plots: { draw, clear, whenSeen } });
})();
