/* The Gallery's menu of files: what a person keeps, and what comes from another installation. */
(() => {
  "use strict";
  const { put, get, call, save, csv, neurons, favourites, conceptNames, readNames, openFile } =
    window.rosetta;

  const words = (error) => [error.message, error.hint].filter(Boolean).join(" ");

  /** Wire the menu's buttons in `root`.

      `file` and `take` are questions to the server; `say(text)` tells how it goes where the count
      stands, `said()` is what stands there and `recount()` puts the count back; `grouping()` is the
      threshold that concepts were grouped with. */
  function exportMenu(root, { file, take, say, said, recount, grouping }) {
    const part = (id) => root.querySelector(`[data-id="${id}"]`);
    const close = () => {
      part("export").open = false;
    };
    const opened = () => (get("gallery")?.rows ? get("gallery") : null);

    part("csv").addEventListener("click", () => {
      close();
      const gallery = opened();
      if (!gallery) return;
      const { result } = gallery;
      const names = { stars: favourites(result), concepts: conceptNames(result) };
      const table = neurons.pairTable(get("shown") ?? [], gallery, names);
      const stem = result.replace(/[^\w-]+/g, "_").slice(0, 40);
      save(`rosetta-${stem}.csv`, csv(table), "text/csv");
    });

    for (const kind of ["png", "svg"]) {
      part(kind).addEventListener("click", () => {
        close();
        put("picture-wanted", kind);
      });
    }

    for (const button of root.querySelectorAll("[data-file]")) {
      button.addEventListener("click", () => keep(button.dataset.file));
    }

    /** Files that the app makes: a dictionary, a page, a film, a table. */
    async function keep(kind) {
      close();
      const gallery = opened();
      if (!gallery) return;
      const making = "Making the file…";
      say(making);
      try {
        const { name, mime, data } = await call(file, {
          result: gallery.result,
          ...gallery.selection,
          kind,
          neuron: kind === "webp" ? get("state").neuron : "",
          names: favourites(gallery.result),
          concepts: conceptNames(gallery.result),
          grouping: grouping(),
        });
        save(name, new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type: mime }));
        if (said() === making) recount();
      } catch (error) {
        say(words(error));
      }
    }

    /** A button that asks for a file, and what is done with it. */
    function asks(button, input, use) {
      part(button).addEventListener("click", () => {
        close();
        part(input).click();
      });
      part(input).addEventListener("change", async (event) => {
        const [given] = event.target.files;
        event.target.value = "";
        if (!given) return;
        try {
          await use(given);
        } catch (error) {
          say(words(error));
        }
      });
    }

    asks("read", "names", async (given) => say(await readNames(given)));
    asks("import", "bundle", async (given) => {
      say("Importing…");
      await openFile(given, take);
    });
  }

  Object.assign(window.rosetta, { exportMenu });
})();
