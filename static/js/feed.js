// @ts-check
/** What happened, in sentences, and why: the chain of causes of any event back to the click that began it. */
import { clockText, h, need, render } from "./dom.js";

const SHOWN = 120;
const SPOKEN = 4;
const SPEAK_AFTER_MS = 400;

/** @param {any} lab */
export function start(lab) {
  const list = need("#feed");
  const panel = need("#why");
  const live = need("#live");
  const { store } = lab;
  let level = "major";
  let filter = "";
  /** @type {string[]} */
  let unsaid = [];
  let speaking = 0;

  const rank = { major: 0, minor: 1, trace: 2 };

  function draw() {
    const limit = rank[/** @type {keyof typeof rank} */ (level)];
    const shown = [];
    for (let index = store.sentences.length - 1; index >= 0 && shown.length < SHOWN; index--) {
      const sentence = store.sentences[index];
      if (rank[/** @type {keyof typeof rank} */ (sentence.level)] > limit) continue;
      if (filter && !sentence.text.toLowerCase().includes(filter)) continue;
      if (sentence.at_us > store.clock.now_us + 1) continue;
      shown.push(sentence);
    }
    render(
      list,
      shown.length
        ? shown.map(row)
        : h("li.empty", { key: "none" }, "Nothing has happened yet. Produce a record, or break something."),
    );
  }

  /** @param {any} sentence */
  function row(sentence) {
    return h(
      "li",
      {
        key: String(sentence.id),
        class: sentence.kind === "CommandGiven" ? "yours" : sentence.level,
        "data-event": sentence.id,
        "data-kind": sentence.kind,
        on: hover(lab, sentence),
      },
      [
        h("time", { key: "t" }, clockText(sentence.at_us)),
        h("span.what", { key: "w" }, sentence.text),
        h(
          "button.why",
          { key: "y", type: "button", "aria-label": `Why? ${sentence.text}`, on: { click: () => why(sentence.id) } },
          "why?",
        ),
      ],
    );
  }

  /** @param {number} id */
  async function why(id) {
    const answer = await lab.ask("why", { event_id: id });
    if (!answer) return;
    const chain = answer.chain ?? answer.result ?? [];
    panel.hidden = false;
    render(panel, [
      h("header.why-head", { key: "head" }, [
        h("h3", { key: "h", tabindex: "-1" }, "Why?"),
        h(
          "button.icon",
          { key: "x", type: "button", "aria-label": "Close the chain of causes", on: { click: close } },
          "✕",
        ),
      ]),
      h(
        "ol.chain",
        { key: "chain" },
        chain.map((/** @type {any} */ link, /** @type {number} */ index) =>
          h(
            "li",
            {
              key: String(link.id),
              class: link.kind === "CommandGiven" ? "root" : index === chain.length - 1 ? "leaf" : "",
              "data-kind": link.kind,
              on: hover(lab, link),
            },
            [
              h("time", { key: "t" }, clockText(link.at_us)),
              h("span.what", { key: "w" }, link.text),
              h("span.links", { key: "l" }, [
                h("button.why", { key: "show", type: "button", on: { click: () => lab.flash(link.objects) } }, "show"),
                h(
                  "button.why",
                  {
                    key: "go",
                    type: "button",
                    "aria-label": `go there, ${clockText(link.at_us)}`,
                    on: { click: () => lab.ask("seek", { at_us: link.at_us }) },
                  },
                  "go there",
                ),
              ]),
            ],
          ),
        ),
      ),
    ]);
    const last = chain[chain.length - 1];
    if (last) lab.flash(last.objects);
    need("h3", panel).focus();
  }

  function close() {
    panel.hidden = true;
    lab.flash([]);
    need("#feed-level").focus();
  }

  /** The live region says what matters, gathered over a moment so that it does not stammer. @param {any} event */
  function speak(event) {
    for (const sentence of event.detail.fresh) if (sentence.level === "major") unsaid.push(sentence.text);
    if (!unsaid.length || speaking) return;
    speaking = window.setTimeout(() => {
      live.textContent = unsaid.slice(-SPOKEN).join(" ");
      unsaid = [];
      speaking = 0;
    }, SPEAK_AFTER_MS);
  }

  need("#feed-level").addEventListener("change", (event) => {
    level = /** @type {HTMLSelectElement} */ (event.target).value;
    draw();
  });
  need("#feed-filter").addEventListener("input", (event) => {
    filter = /** @type {HTMLInputElement} */ (event.target).value.toLowerCase();
    draw();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  store.addEventListener("draw", draw);
  store.addEventListener("push", speak);
  lab.why = why;
}

/** @param {any} lab @param {any} sentence */
const hover = (lab, sentence) => {
  const on = () => lab.flash(sentence.objects);
  const off = () => lab.flash([]);
  return { mouseenter: on, mouseleave: off, focusin: on, focusout: off };
};
