/* The words of the field, explained where they stand: hover, focus or tap a dotted word. */
(() => {
  "use strict";
  const { h, on } = window.rosetta;

  const MEANING = {
    "Rosetta Neuron":
      "A unit of the generator with a matched unit in every chosen backbone: one concept that all of these networks share.",
    "best buddies":
      "Two units that are each other's highest score: mutual nearest neighbours, K = 1.",
    null: "The best score the same search finds when the images are shuffled between the models. A real match should stand well above it.",
    "above the null":
      "The weakest score is higher than the threshold that only a small share (q, 5 %) of chance matches reach.",
    "by chance":
      "How many the same search finds when the images are shuffled between the models, so that nothing true can be found.",
    score:
      "r, the correlation of two units' maps over all positions of all images, from −1 to 1. Pearson takes the raw maps; centred takes out what all images share by layout; as published is a mean over batches.",
    weakest:
      "The lowest of a neuron's scores over the backbones: it is as strong as its weakest link.",
    pearson: "Correlation of the raw maps. Layout that all images share counts as agreement.",
    centred:
      "Correlation after each position's mean over the images is removed: what all pictures share by layout no longer counts. Best for aligned faces.",
    rule: "Which pairs count. Published: a unit's best partner, if the unit is among that partner's K best. Mutual: each among the other's K best. Clique: mutual, and the backbones agree with each other too.",
    K: "How many best partners of a unit are looked at by the rule.",
    rank: "Place of the generator's unit among its partner's best units; 1 is first.",
    halves: "The score on two separate halves of the images. If they agree, the match is stable.",
    ψ: "Truncation: below 1 the generator stays closer to its average picture, with fewer odd ones.",
    seed: "Number that fixes the random images. The same seed gives the same images on any machine.",
    backbone:
      "A network that looks at images: classifier or self-supervised, not a GAN's discriminator.",
    generator: "The network that draws the images, such as a GAN. Its units are the ones that are looked for in the backbones.",
    images: "How many images the models look at. More make the scores steadier; the plot “Enough images?” shows when it is enough.",
    "batch size":
      "Images that go through the models at once: more is faster as long as memory lasts. Only the score “as published” depends on it.",
    class: "Which of its classes a class-conditional generator draws.",
    unit: "One channel of one layer, written model/layer:channel. The paper calls it a neuron.",
    "live units": "Units that vary over the images. Dead ones never do, so they can match nothing and are left out.",
    map: "A unit's activation at every position of an image, drawn as colours over the picture or as it is.",
    "colour scale":
      "What the brightest colour stands for: the unit's highest activation over the whole data set, or in this image only.",
    σ: "In standard deviations of the unit over the data set, above its own mean: +2 σ is rare for it, 0 is usual.",
    threshold: "Score that only q (5 %) of the matches among shuffled images reach.",
    "false discoveries": "Estimated share of chance matches among those above the threshold.",
    pairs: "A unit of the generator and a unit of the backbone that belong together under the rule; K is 5 while a match runs.",
    overlap: "Pairs that are in both results, as a share of those that are in either.",
    "r of the scores":
      "How alike both results score the pairs that they share: 1 is the same order and spacing.",
    selectivity:
      "Excess kurtosis of a unit's activations: 0 is a bell curve; high is a unit that is mostly silent and at times very active.",
    concept: "Neurons whose maps move together over the images, grouped into one concept.",
    grouping:
      "How unlike two neurons of one concept may be: 1 − the correlation of their maps over the images, on average. Lower makes more, tighter concepts.",
    share: "Best buddies as a share of the smaller model's live units.",
    PSNR: "Mean squared difference of the pixels in decibels: 20 dB is a likeness, 30 dB is close, above 40 dB the eye sees no difference.",
    SSIM: "Structural similarity of the two pictures in small windows: 1 is the same, 0 is nothing in common.",
    "perceptual distance":
      "Distance of the two pictures in the features of a backbone: 0 is the same. It sees what is shown rather than each pixel.",
    LPIPS: "Learned perceptual distance, fitted to what people find alike: 0 is the same. Shown where the lpips package and its weights are installed.",
    realism:
      "Share of the generator's own pictures that lie less far out than this one. Above 95 it is rarer than 19 of 20.",
    agreement:
      "Correlation of the generator's own map, while it draws, with this unit's map of the picture that was asked for: what was optimised.",
    "seen again":
      "Correlation of this unit's map of the generated picture with its map of the picture that was asked for.",
    "latent space":
      "Where the picture is looked for: z is what the generator samples; w is what its layers read; w+ has one w for each layer, which fits more and is less natural.",
    pull: "How strongly the latent is held near natural ones. More is more natural and less like the picture that was asked for.",
    "early maps":
      "What a generator's first layers have drawn, at 16 to 64 cells a side. Moved as they are, the layers after them draw the same picture elsewhere, and its latent stays as natural as it was.",
    "coarse layers first":
      "The rows of w+ that lay out the picture move at once, those of details from half of the steps on.",
    polish: "The second half of the steps goes by L-BFGS, which gets much nearer than Adam once the best start is known.",
  };

  let bubble = null;
  let owner = null; // what the bubble explains

  const CONTROL = "input, select, button";

  /** What a screen reader should read the bubble with; a word has it in its own name already. */
  function described(anchor) {
    if (anchor.classList.contains("r-term")) return null;
    return anchor.matches(CONTROL) ? anchor : anchor.querySelector(CONTROL);
  }

  function hide() {
    if (!bubble) return;
    described(owner)?.removeAttribute("aria-describedby");
    bubble.remove();
    bubble = owner = null;
  }

  function show(anchor, text) {
    hide();
    if (!anchor.isConnected) return; // a click may redraw what was clicked
    owner = anchor;
    bubble = h("div.r-bubble", { role: "tooltip", id: "r-bubble" }, text);
    document.body.append(bubble);
    described(anchor)?.setAttribute("aria-describedby", "r-bubble");
    place();
  }

  function place() {
    const at = owner.getBoundingClientRect();
    const size = bubble.getBoundingClientRect();
    const left = Math.min(
      Math.max(8, at.left + at.width / 2 - size.width / 2),
      innerWidth - size.width - 8,
    );
    const above = at.top - size.height - 8;
    bubble.style.left = `${left}px`;
    bubble.style.top = `${above > 8 ? above : at.bottom + 8}px`;
  }

  /** Explain on hover, focus and tap; Escape closes. A node may hold the control that is focused. */
  function explain(node, text) {
    node.addEventListener("pointerenter", () => show(node, text));
    node.addEventListener("pointerleave", hide);
    node.addEventListener("focusin", () => show(node, text));
    node.addEventListener("focusout", hide);
    node.addEventListener("click", () => show(node, text));
    return node;
  }

  /** The same with a text of the table above. */
  const explained = (node, name) => explain(node, MEANING[name]);

  /** A word with a dotted line that explains itself; `name` is a key of the table above. */
  function term(name, words = name) {
    const node = h(
      "button.r-term",
      { type: "button", "aria-label": `${words}: ${MEANING[name]}` },
      words,
    );
    return explain(node, MEANING[name]);
  }

  /* What stands in a sentence of the server or of a template → the key that explains it. */
  const SPOKEN = {
    "Rosetta Neurons": "Rosetta Neuron",
    "Rosetta Neuron": "Rosetta Neuron",
    "Best buddies": "best buddies",
    "weakest score": "weakest",
    threshold: "threshold",
    shuffled: "null",
    units: "unit",
    pairs: "pairs",
    pair: "pairs",
    "dead units": "live units",
    "Excess kurtosis": "selectivity",
  };
  const SPOKEN_WORDS = new RegExp(`\\b(${Object.keys(SPOKEN)
    .sort((a, b) => b.length - a.length)
    .join("|")})\\b`);

  /** A sentence as nodes, the first mention of each term explained. */
  function termed(text) {
    const told = new Set();
    return text.split(SPOKEN_WORDS).map((part, at) => {
      const name = at % 2 ? SPOKEN[part] : "";
      if (!name || told.has(name)) return part;
      told.add(name);
      return term(name, part);
    });
  }

  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  // What the Tab key reaches is often scrolled into view: the bubble goes along then.
  const scrolled = () => owner && (owner.matches(":hover, :focus-within") ? place() : hide());
  addEventListener("scroll", scrolled, { capture: true, passive: true });
  // What is redrawn under a resting pointer never tells that the pointer left it.
  addEventListener("pointermove", () => owner && !owner.isConnected && hide(), { passive: true });
  on("state", () => owner && !owner.isConnected && hide());

  let numbered = 0;

  /** Turn `<i data-term="null">null</i>` of a static template into explained words, and explain
      what carries a `data-explain`.

      A label names the first thing in it that can be used, which would be the word's button: it is
      told which control it belongs to, and the control its plain name. */
  function explainTerms(root) {
    for (const mark of root.querySelectorAll("i[data-term]")) {
      const label = mark.closest("label");
      const control = label?.querySelector("input, select");
      if (control) {
        numbered += 1;
        control.id = `r-control-${numbered}`;
        label.htmlFor = control.id;
        const words = (mark.closest(".r-label") ?? mark.parentElement).textContent.trim();
        if (!control.hasAttribute("aria-label")) control.setAttribute("aria-label", words);
      }
      mark.replaceWith(term(mark.dataset.term, mark.textContent));
    }
    for (const node of root.querySelectorAll("[data-explain]")) {
      explained(node, node.dataset.explain);
    }
  }

  Object.assign(window.rosetta, { term, termed, explain, explained, explainTerms });
})();
