/* Favourites and names that a person gives, kept in the browser; and files that a person saves. */
(() => {
  "use strict";
  const { put, get } = window.rosetta;
  const PLACE = "rosetta-favourites";

  function recalled() {
    try {
      return JSON.parse(localStorage.getItem(PLACE) ?? "{}");
    } catch {
      return {}; // storage is refused, or holds what an older version wrote
    }
  }

  /** The favourites of one result: unit → the name that a person gave it, or an empty text. */
  const favourites = (result) => get("favourites")[result] ?? {};

  function setFavourite(result, key, name) {
    const all = { ...get("favourites"), [result]: { ...favourites(result) } };
    if (name === null) delete all[result][key];
    else all[result][key] = name;
    try {
      localStorage.setItem(PLACE, JSON.stringify(all));
    } catch {
      // Without storage, favourites last until the page is reloaded.
    }
    put("favourites", all);
  }

  put("favourites", recalled());
  addEventListener("storage", (event) => event.key === PLACE && put("favourites", recalled()));

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

  Object.assign(window.rosetta, { favourites, setFavourite, save, csv });
})();
