/* Favourites and names that a person gives, kept in the browser; and files that a person saves. */
(() => {
  "use strict";
  const { put, get } = window.rosetta;

  /** Names that a person gives to parts of results: result → key → name, kept in the browser and
      published under the topic. */
  function keeper(topic) {
    const place = `rosetta-${topic}`;

    function recalled() {
      try {
        return JSON.parse(localStorage.getItem(place) ?? "{}");
      } catch {
        return {}; // storage is refused, or holds what an older version wrote
      }
    }

    const of = (result) => get(topic)[result] ?? {};

    function set(result, key, name) {
      const all = { ...get(topic), [result]: { ...of(result) } };
      if (name === null) delete all[result][key];
      else all[result][key] = name;
      try {
        localStorage.setItem(place, JSON.stringify(all));
      } catch {
        // Without storage, names last until the page is reloaded.
      }
      put(topic, all);
    }

    put(topic, recalled());
    addEventListener("storage", (event) => event.key === place && put(topic, recalled()));
    return [of, set];
  }

  /** The favourites of one result: unit → the name that a person gave it, or an empty text. */
  const [favourites, setFavourite] = keeper("favourites");

  /** The names of its concepts: the medoid → a person's name for the concept. */
  const [conceptNames, setConceptName] = keeper("concept-names");

  /** Hand a file to the browser's downloads. */
  function save(name, content, type) {
    const address = URL.createObjectURL(
      content instanceof Blob ? content : new Blob([content], { type }),
    );
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  /* A cell that starts with one of these would run as a formula in a spreadsheet; a number may. */
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };

  const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

  Object.assign(window.rosetta, { favourites, setFavourite, conceptNames, setConceptName, save, csv });
})();
