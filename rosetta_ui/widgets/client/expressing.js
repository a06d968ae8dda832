/* "Show me more of this": images that are made to express the chosen neuron, while they are made. */
(() => {
  "use strict";
  const { h, on, get, call, format, failure, icon, maps, term } = window.rosetta;

  const LOOK = 400; // ms between looks at the job
  const SMOOTH = 96; // px of an enlarged map

  /** Wire the panel `root`; gives {start(row), close()}.

      `server` has express, expressed and stop. */
  function expressing(root, server) {
    let job = "";
    let seen = -1;
    let timer = 0;
    let images = [];
    let shown = 0; // the model whose map lies on the images
    const parts = {};

    function close() {
      clearTimeout(timer);
      job = "";
      root.hidden = true;
      root.replaceChildren();
    }

    async function start(row) {
      close();
      const gallery = get("gallery");
      root.hidden = false;
      root.replaceChildren(h("p.r-soft", {}, "Asking the generator…"));
      try {
        const answer = await call(server.express, {
          result: gallery.result,
          ...gallery.selection,
          anchor: row.key,
        });
        job = answer.job;
        seen = -1;
        images = [];
        shown = 0;
        build(row);
        look();
      } catch (error) {
        root.replaceChildren(failure(error));
      }
    }

    function build(row) {
      parts.bar = h("i");
      parts.progress = h(
        "div.r-progress",
        { role: "progressbar", "aria-label": "Progress of the images", "aria-valuemin": "0", "aria-valuemax": "100" },
        parts.bar,
      );
      parts.said = h("span.r-small.r-soft.r-num", { "aria-live": "polite" });
      parts.stop = h("button.r-button.small.danger", { type: "button", onclick: stop }, "Stop");
      parts.model = h(
        "select.r-select.scale",
        { "aria-label": "Whose map lies on the images", onchange: (e) => choose(Number(e.target.value)) },
        ...row.cells.map((cell, at) => h("option", { value: String(at) }, cell.unit.model)),
      );
      parts.close = h(
        "button.r-button.small.icon.quiet",
        { type: "button", "aria-label": "Close these images", title: "Close", onclick: close },
        icon("cross"),
      );
      parts.images = h("div.made");
      root.replaceChildren(
        h("div.strip-head", {}, h("h3", {}, `Made to express ${row.key}`), parts.model, parts.stop, parts.close),
        parts.progress,
        parts.said,
        parts.images,
        h(
          "p.r-small.r-soft",
          {},
          "Only the generator’s own unit is raised, from its most active images; that the other " +
            "networks’ units rise too shows that they stand for the same. Numbers are mean activations in ",
          term("σ"),
          " above the data set’s mean.",
        ),
      );
    }

    async function stop() {
      parts.stop.disabled = true;
      try {
        await call(server.stop, { job });
      } catch (error) {
        parts.said.textContent = error.message;
      }
    }

    async function look() {
      const asked = job;
      if (!asked) return;
      try {
        const status = await call(server.expressed, { job: asked, seen });
        if (asked !== job) return;
        if (status.images) {
          images = status.images.map(decoded);
          seen = status.step;
          draw();
        }
        say(status);
        const live = status.state === "running" || status.state === "queued";
        if (live) timer = setTimeout(look, document.hidden ? 2000 : LOOK);
      } catch (error) {
        if (asked === job) root.replaceChildren(failure(error));
      }
    }

    function say(status) {
      const live = status.state === "running" || status.state === "queued";
      const share = status.total ? status.done / status.total : 0;
      parts.progress.hidden = parts.stop.hidden = !live;
      parts.progress.classList.toggle("waiting", live && status.done === 0);
      parts.bar.style.width = `${100 * share}%`;
      parts.progress.setAttribute("aria-valuenow", String(Math.round(100 * share)));
      const queued = status.place ? `${status.place} job${status.place === 1 ? "" : "s"} ahead. ` : "";
      const left = live && status.left !== null ? `, ${format.seconds(status.left)} left` : "";
      const words = {
        queued: `${queued}Waiting for the device.`,
        running: status.total ? `Step ${status.done} of ${status.total}${left}` : status.message,
        stopped: "Stopped; these are the best so far.",
        failed: [status.message, status.hint].filter(Boolean).join(" "),
        done: "",
      };
      parts.said.textContent = words[status.state];
    }

    const decoded = (image) => ({
      ...image,
      cells: image.cells.map((cell) => ({ ...cell, raw: maps.floats(cell.values) })),
    });

    function choose(at) {
      shown = at;
      draw();
    }

    /** The unit of the chosen model; a backbone whose weights are not here has none. */
    function cellOf(image) {
      const model = parts.model.options[shown]?.textContent;
      return image.cells.find((cell) => cell.unit.startsWith(`${model}/`));
    }

    function draw() {
      parts.images.replaceChildren(...images.map(card));
      paint();
    }

    function card(image) {
      const cell = cellOf(image);
      const tile = (src, alt, map) =>
        h(
          `span.r-tile${map ? ".has-map" : ""}`,
          {},
          h("img", { src, alt, draggable: "false" }),
          map ? h("canvas", { role: "img", "aria-label": `Map of ${cell.unit}` }) : null,
        );
      const rose = cell
        ? `${sigma(cell.before)} → ${sigma(cell.after)}`
        : "the weights of this model are not here";
      return h(
        "figure.card",
        {},
        h(
          "div.pair",
          {},
          tile(image.before, `Natural image ${image.start}`, false),
          tile(image.after, "The image that was made of it", Boolean(cell)),
        ),
        h("figcaption.r-small.r-num", {}, h("span.r-soft", {}, `image ${image.start} `), rose),
      );
    }

    const sigma = (value) => (value === null ? "–" : `${value < 0 ? "" : "+"}${format.r(value)} σ`);

    function paint() {
      parts.images?.querySelectorAll(".card").forEach((node, at) => {
        const canvas = node.querySelector("canvas");
        const cell = cellOf(images[at]);
        if (!canvas || !cell) return;
        const levels = maps.levels(cell.raw, cell.low, cell.high);
        maps.paint(canvas, levels, cell.width, cell.height, get("view"), SMOOTH);
      });
    }

    on("view", paint);
    return { start, close };
  }

  Object.assign(window.rosetta, { expressing });
})();
