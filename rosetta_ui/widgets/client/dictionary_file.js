/* Exported dictionaries and bundles that a person brings back: whole results, or only the names. */
(() => {
  "use strict";
  const { get, put, call, select, setFavourite, setConceptName } = window.rosetta;

  const MOST_BYTES = 20e6; // a dictionary of 5,000 neurons has 5 MB
  const UNIT = /^[^/:]+\/[^:]+:\d+$/;

  const namesIn = (given) =>
    Object.entries(given ?? {}).filter(
      ([key, name]) => typeof name === "string" && name.length <= 60 && UNIT.test(key),
    );

  /** Favourites and names out of an exported dictionary; says how many were taken over. */
  async function readNames(file) {
    const gallery = get("gallery");
    if (!gallery?.byKey) return "Open a result first: names belong to its neurons.";
    let given;
    try {
      given = file.size > MOST_BYTES ? null : JSON.parse(await file.text());
    } catch {
      given = null;
    }
    if (given?.schema !== 1 || !Array.isArray(given.neurons)) {
      return "This is no dictionary: choose a file from Export, All neurons, JSON.";
    }
    return takeNames(gallery, given);
  }

  function takeNames(gallery, { favourites, concept_names: concepts }) {
    const named = namesIn(favourites);
    const known = named.filter(([key]) => gallery.byKey.has(key));
    known.forEach(([key, name]) => setFavourite(gallery.result, key, name));
    const groups = namesIn(concepts).filter(([key]) => gallery.byKey.has(key));
    groups.forEach(([key, name]) => setConceptName(gallery.result, key, name));
    const rest = named.length - known.length;
    return [
      `${known.length} favourites read`,
      groups.length ? `, ${groups.length} names of concepts` : "",
      rest ? `, ${rest} are no neurons here` : "",
      ".",
    ].join("");
  }

  const MOST_BUNDLE = 48e6; // the server takes no more than 64 MB of it as text

  const base64 = (file) =>
    new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => reject(new Error("The file could not be read."));
      reader.readAsDataURL(file);
    });

  /** Import a dictionary or bundle with `take`, and open it. */
  async function openFile(file, take) {
    if (file.size > MOST_BUNDLE) throw new Error("The file is too large: at most 48 MB are taken.");
    const came = await call(take, { data: await base64(file) });
    namesIn(came.favourites).forEach(([key, name]) => setFavourite(came.result, key, name));
    namesIn(came.concept_names).forEach(([key, name]) => setConceptName(came.result, key, name));
    put("results-changed", Date.now());
    select({ result: came.result, rule: came.rule, k: came.k, score: came.score });
  }

  Object.assign(window.rosetta, { readNames, openFile });
})();
