/* What every widget of the page shares: safe elements, one state held in the address, topics, calls.

   Names of models, files and results come from people, so text reaches the page only as text nodes:
   `h` never takes markup, and no template interpolates a value. */
(() => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  /** Make an element: h("button.primary", {type: "button", onclick: f}, "Run", child, ...). */
  function h(spec, attributes = {}, ...children) {
    const [tag, ...classes] = spec.split(".");
    const node = document.createElement(tag);
    if (classes.length) node.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "data") Object.assign(node.dataset, value);
      else if (name in node && name !== "list" && typeof value !== "string") node[name] = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return node;
  }

  const ICONS = {
    compare: "M3 5h8M8.5 2.5 11 5 8.5 7.5M13 11H5M7.5 8.5 5 11l2.5 2.5",
    left: "M10 3 5 8l5 5",
    right: "M6 3l5 5-5 5",
    up: "M3 10l5-5 5 5",
    down: "M3 6l5 5 5-5",
    check: "M3 8.5 6.5 12 13 4.5",
    cross: "M4 4l8 8M12 4l-8 8",
    warn: "M8 2.5 14.5 13.5h-13zM8 6.5v3.5M8 12v.2",
    link: "M6.5 9.5l3-3M7 5l1.5-1.5a2.5 2.5 0 0 1 3.5 3.5L10.5 8.5M9 11l-1.5 1.5A2.5 2.5 0 0 1 4 9l1.5-1.5",
    star: "M8 2.2l1.8 3.7 4 .6-2.9 2.8.7 4L8 11.4l-3.6 1.9.7-4L2.2 6.5l4-.6z",
    target: "M8 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM8 1v3M8 12v3M1 8h3M12 8h3",
    moon: "M12.5 9.8A5.3 5.3 0 0 1 6.2 3.5 5.3 5.3 0 1 0 12.5 9.8z",
    sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1",
    search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5 14 14",
    bin: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5M6.8 7v3.8M9.2 7v3.8",
    pin: "M6 2.5h4M6.8 2.5v4L5 9h6L9.2 6.5v-4M8 9v4.5",
    pencil: "M3 13l.6-2.8L10.8 3 13 5.2 5.8 12.4zM9.5 4.3l2.2 2.2",
    again: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
    download: "M8 2.5v7M5 7l3 3 3-3M3 13h10",
  };

  /** A line icon of 16 px that screen readers skip. */
  function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "path");
    for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", "aria-hidden": "true" })) {
      svg.setAttribute(key, value);
    }
    svg.classList.add("r-icon");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
  }

  // Topics: the last value of each is kept, because widgets of a tab are made when it is first opened.
  const values = new Map();
  const listeners = new Map();

  function on(topic, listener) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(listener);
    if (values.has(topic)) listener(values.get(topic), new Set());
    return () => listeners.get(topic).delete(listener);
  }

  function put(topic, value, changed = new Set()) {
    values.set(topic, value);
    for (const listener of listeners.get(topic) ?? []) listener(value, changed);
  }

  const get = (topic) => values.get(topic);

  // The selection: everything that a copied link must bring back.
  const DEFAULTS = {
    tab: "gallery",
    result: "",
    rule: "published",
    k: "5",
    score: "",
    neuron: "",
    image: "",
    pin: "",
    find: "",
    lowest: "",
    above: "",
    concept: "",
    grouping: "",
    model: "",
    from: "",
    to: "",
    size: "",
    stars: "",
    point: "",
    unit: "",
    job: "",
    plot: "",
    other: "",
  };

  function readAddress() {
    const given = new URLSearchParams(location.search);
    return Object.fromEntries(
      Object.entries(DEFAULTS).map(([key, usual]) => [key, given.get(key) ?? usual]),
    );
  }

  function writeAddress(state) {
    const query = new URLSearchParams(location.search);
    for (const [key, usual] of Object.entries(DEFAULTS)) {
      if (state[key] === usual) query.delete(key);
      else query.set(key, state[key]);
    }
    // Slashes and colons of unit names are legal in a query and far easier to read.
    const text = query
      .toString()
      .replaceAll("%2F", "/")
      .replaceAll("%3A", ":")
      .replaceAll("%2C", ",");
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  }

  /** Change the selection; what depends on a changed part is cleared unless it is given too. */
  function select(patch) {
    const before = get("state");
    const next = { ...before };
    for (const [key, value] of Object.entries(patch)) next[key] = String(value ?? "");
    if (next.result !== before.result && !("neuron" in patch)) next.neuron = "";
    if (next.result !== before.result && !("score" in patch)) next.score = "";
    if (next.result !== before.result && !("pin" in patch)) next.pin = next.point = "";
    if (next.neuron !== before.neuron && !("image" in patch)) next.image = next.pin;
    // A unit was looked at beside one neuron, at one place of one image.
    const moved = ["result", "neuron", "pin", "point"].some((key) => next[key] !== before[key]);
    if (moved && !("unit" in patch)) next.unit = "";
    const renumbered = ["result", "rule", "k", "score", "grouping"].some((k) => next[k] !== before[k]);
    if (renumbered && next.concept !== "each" && !("concept" in patch)) next.concept = "";
    if (next.result !== before.result) {
      for (const key of ["model", "from", "to", "size"]) if (!(key in patch)) next[key] = "";
    }
    const changed = new Set(Object.keys(DEFAULTS).filter((key) => next[key] !== before[key]));
    if (!changed.size) return;
    writeAddress(next);
    put("state", next, changed);
  }

  values.set("state", readAddress());
  addEventListener("popstate", () => {
    const before = get("state");
    const next = readAddress();
    put("state", next, new Set(Object.keys(DEFAULTS).filter((key) => next[key] !== before[key])));
  });

  /** An answer that the app gave in words: what was wrong and what to do. */
  class Refusal extends Error {
    constructor(message, hint = "") {
      super(message);
      this.hint = hint;
    }
  }

  /** Ask the app. Throws `Refusal` with a sentence for a person, whatever went wrong. */
  async function call(ask, payload = {}) {
    let answer;
    try {
      answer = await ask(payload);
    } catch {
      throw new Refusal(
        "The app does not answer.",
        "See whether it still runs, then reload the page.",
      );
    }
    if (answer && typeof answer === "object" && "error" in answer) {
      throw new Refusal(answer.error, answer.hint);
    }
    if (answer === undefined || (answer && answer.detail)) {
      throw new Refusal("The app could not do that.", "Its log in the terminal says why.");
    }
    return answer;
  }

  /** Wrap an async function so that only the newest call's answer is used: others give undefined. */
  function latest(work) {
    let newest = 0;
    return async (...given) => {
      const mine = ++newest;
      const answer = await work(...given);
      return mine === newest ? answer : undefined;
    };
  }

  function debounce(work, wait) {
    let timer = 0;
    return (...given) => {
      clearTimeout(timer);
      timer = setTimeout(() => work(...given), wait);
    };
  }

  /** Run at most once in `wait` ms, the first time after `wait`: for work that a scroll asks for. */
  function throttle(work, wait) {
    let timer = 0;
    return () => {
      if (timer) return;
      timer = setTimeout(() => {
        timer = 0;
        work();
      }, wait);
    };
  }

  /** The box that stands where something failed or is missing. */
  function notice({ title, text = "", kind = "empty", action = null }) {
    const mark = kind === "error" ? icon("warn") : null;
    return h(
      `div.r-notice.${kind}`,
      { role: kind === "error" ? "alert" : "status" },
      mark,
      h("strong", {}, title),
      text ? h("p", {}, text) : null,
      action,
    );
  }

  const failure = (error) =>
    notice({ title: error.message, text: error.hint ?? "", kind: "error" });

  const format = {
    r: (value) =>
      value === null || value === undefined ? "–" : value.toFixed(2).replace("-", "−"),
    count: (value) => (value === null ? "–" : Math.round(value).toLocaleString("en")),
    share: (value) => (value === null ? "–" : `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`),
    bytes(value) {
      const units = ["B", "kB", "MB", "GB", "TB"];
      let power = 0;
      while (value >= 1000 && power < units.length - 1) {
        value /= 1000;
        power += 1;
      }
      return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
    },
    seconds(value) {
      if (value === null || value === undefined) return "unknown";
      if (value < 10) return `${value.toFixed(1)} s`;
      if (value < 90) return `${Math.round(value)} s`;
      if (value < 600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
      if (value < 5400) return `${Math.round(value / 60)} min`;
      return `${(value / 3600).toFixed(1)} h`;
    },
    date: (value) =>
      new Date(value * 1000).toLocaleString("en-GB", {
        day: "numeric",
        month: "short",
        year: "numeric",
        hour: "2-digit",
        minute: "2-digit",
      }),
    value(v) {
      const size = Math.abs(v);
      const text =
        v === 0
          ? "0"
          : size >= 100
            ? v.toFixed(0)
            : size >= 10
              ? v.toFixed(1)
              : size >= 1
                ? v.toFixed(2)
                : size >= 0.001
                  ? v.toFixed(3)
                  : v.toExponential(0);
      return text.replace("-", "−");
    },
  };

  window.rosetta = {
    h,
    icon,
    on,
    put,
    get,
    select,
    call,
    latest,
    debounce,
    throttle,
    notice,
    failure,
    format,
    Refusal,
  };
})();
