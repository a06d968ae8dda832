/* The page around the tabs: light and dark, and which tab is open. */
(() => {
  "use strict";
  const { on, select, get } = window.rosetta;

  function wanted() {
    try {
      return localStorage.getItem("rosetta-theme");
    } catch {
      return null; // storage is refused: follow the system
    }
  }

  const system = matchMedia("(prefers-color-scheme: dark)");

  const isDark = () => (wanted() ?? (system.matches ? "dark" : "light")) === "dark";

  /* Gradio sets the class from the system's taste when it starts; a person's own choice must win
     without a flash, so the class is watched rather than set once. */
  function keepTheme() {
    const apply = () => {
      if (document.body.classList.contains("dark") !== isDark()) {
        document.body.classList.toggle("dark", isDark());
      }
    };
    apply();
    new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
    system.addEventListener("change", apply);
  }

  function setTheme(name) {
    try {
      localStorage.setItem("rosetta-theme", name);
    } catch {
      return; // nothing can be kept, so nothing is changed
    }
    document.body.classList.toggle("dark", isDark());
  }

  if (document.body) keepTheme();
  else addEventListener("DOMContentLoaded", keepTheme);

  const tabButton = (name) =>
    document.querySelector(`[role=tab][data-tab-id="${CSS.escape(name)}"]`);

  function openTab(name) {
    const button = tabButton(name);
    if (button && button.getAttribute("aria-selected") !== "true") button.click();
  }

  on("state", (state, changed) => changed.has("tab") && openTab(state.tab));

  // The tab bar is gradio's: a click on it is noticed here, whoever made it.
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[role=tab][data-tab-id]");
    if (button) select({ tab: button.dataset.tabId });
  });

  /* A link may name another tab than the one gradio opens. Gradio answers clicks only a moment after
     the bar is there, so it is asked again until it has opened the tab. */
  let tries = 0;
  function openLinked() {
    const { tab } = get("state");
    openTab(tab);
    const open = tabButton(tab)?.getAttribute("aria-selected") === "true";
    tries += 1;
    if (!open && tries < 200) setTimeout(openLinked, 25);
  }
  openLinked();

  /** Send a last word when the page is left for good. A browser drops what a page still asks for when
      it goes, unless it is marked to be kept. */
  function farewell(send) {
    addEventListener("pagehide", (event) => {
      if (event.persisted) return; // it may come back as it is
      const plain = window.fetch;
      window.fetch = (address, options) => plain(address, { ...options, keepalive: true });
      send();
      window.fetch = plain;
    });
  }

  Object.assign(window.rosetta, { setTheme, isDark, farewell });
})();
