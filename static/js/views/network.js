// @ts-check
/** The network as a matrix of links, source by target, and the messages that are on the wire now. */
import { clockText, h, render, span, spoken } from "../dom.js";

const MAX_FLIGHTS = 60;

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("network");

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const order = ["broker", "controller", "producer", "consumer", "share-consumer", "admin"];
    const nodes = Object.values(view.nodes).sort(
      (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || a.id - b.id,
    );
    render(root, [
      h("section", { key: "links" }, [
        h("div.view-bar", { key: "bar" }, [
          h("h3", { key: "h" }, "Links"),
          h(
            "button.button.small",
            { key: "cut", type: "button", on: { click: () => lab.actions.open("CutNetwork", {}) } },
            "Cut…",
          ),
          h(
            "button.button.small",
            { key: "deg", type: "button", on: { click: () => lab.actions.open("DegradeNetwork", {}) } },
            "Delay or lose…",
          ),
          h(
            "button.button.small",
            {
              key: "heal",
              type: "button",
              on: { click: () => lab.act({ type: "HealNetwork", source: "*", target: "*" }) },
            },
            "Heal everything",
          ),
        ]),
        h("div.scroll", { key: "m", tabindex: "0", role: "region", "aria-label": "Matrix of links" }, [
          h("table.matrix", { key: "t" }, [
            h("caption.sr", { key: "c" }, "State of the link from each node (rows) to each other (columns)"),
            h("thead", { key: "h" }, [
              h("tr", {}, [
                h("th", { key: "corner", scope: "col" }, "from ↓ to →"),
                nodes.map((node) => h("th", { key: node.name, scope: "col" }, short(node))),
              ]),
            ]),
            h(
              "tbody",
              { key: "b" },
              nodes.map((source) =>
                h("tr", { key: source.name }, [
                  h("th", { key: "name", scope: "row" }, spoken(source.name)),
                  nodes.map((target) =>
                    h("td", { key: target.name }, source === target ? "" : link(view, source, target)),
                  ),
                ]),
              ),
            ),
          ]),
        ]),
      ]),
      h("section", { key: "flights" }, [
        h("div.view-bar", { key: "bar" }, [h("h3", { key: "h" }, `On the wire: ${view.in_flight.length}`)]),
        view.in_flight.length
          ? flights(view)
          : h(
              "p.empty",
              { key: "none" },
              "Nothing travels at this moment. A message is under way for less than a millisecond: slow time to 0.01×, or go step by step.",
            ),
      ]),
    ]);
  }
  return { draw };
}

/** @param {any} view */
const flights = (view) =>
  h("div.scroll", { key: "s", tabindex: "0", role: "region", "aria-label": "Messages on the wire" }, [
    h("table.flights", { key: "t" }, [
      h("thead", { key: "h" }, [
        h(
          "tr",
          {},
          ["Message", "From", "To", "Sent", "Arrives in"].map((name) => h("th", { key: name, scope: "col" }, name)),
        ),
      ]),
      h(
        "tbody",
        { key: "b" },
        view.in_flight
          .slice(0, MAX_FLIGHTS)
          .map((/** @type {any} */ flight) =>
            h("tr", { key: String(flight.id) }, [
              h("td", { key: "k" }, flight.label || flight.kind),
              h("td", { key: "s" }, spoken(flight.source)),
              h("td", { key: "t" }, spoken(flight.target)),
              h("td.num", { key: "at" }, clockText(flight.sent_us)),
              h("td.num", { key: "in" }, span(Math.max(0, flight.arrives_us - view.now_us))),
            ]),
          ),
      ),
    ]),
  ]);

/** @param {any} node */
const short = (node) =>
  node.kind === "broker" ? `b${node.id}` : node.kind === "controller" ? `c${node.id}` : node.name.slice(0, 9);

/** @param {any} view @param {any} source @param {any} target */
function link(view, source, target) {
  const state = view.links[`${source.name}>${target.name}`];
  const [shape, tone, words] = state?.cut
    ? ["✕", "offline", "cut"]
    : state?.loss_ppm
      ? ["▲", "lagging", `loses ${state.loss_ppm / 10_000} %${state.delay_us ? `, ${span(state.delay_us)} late` : ""}`]
      : state?.delay_us
        ? ["▲", "lagging", `${span(state.delay_us)} late`]
        : ["·", "quiet", "as new"];
  return h(
    "button.link",
    {
      type: "button",
      class: `tone-${tone}`,
      title: `${spoken(source.name)} → ${spoken(target.name)}: ${words}`,
      "aria-label": `${spoken(source.name)} to ${spoken(target.name)}: ${words}`,
      "aria-haspopup": "menu",
      "data-object": `${source.name}>${target.name}`,
    },
    shape,
  );
}
