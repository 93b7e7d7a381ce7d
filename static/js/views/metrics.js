// @ts-check
/** Kafka's own metrics by their JMX names: small charts of the chosen ones over virtual time, and a table of all. */
import { h, render } from "../dom.js";
import { chart, keepFitting } from "./plot.js";
import { security } from "./security.js";

const FAVOURITES = [
  /UnderReplicatedPartitions/,
  /OfflinePartitionsCount/,
  /MessagesInPerSec/,
  /IsrShrinksPerSec/,
  /UnderMinIsrPartitionCount/,
  /BytesInPerSec/,
];
const TONES = ["--leader", "--isr", "--lagging", "--hw", "--leo", "--offline"];
const MAX_CHARTS = 8;

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("metrics");
  const bar = document.createElement("div");
  const charts = document.createElement("div");
  charts.className = "charts";
  const table = document.createElement("div");
  const access = document.createElement("div");
  root.append(bar, charts, access, table);
  /** @type {Set<string> | null} */
  let chosen = null;
  let search = "";
  /** @type {Map<string, {plot: any, box: HTMLElement}>} */
  const plots = new Map();

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const names = Object.keys(view.metrics).sort();
    if (chosen === null && names.length) {
      chosen = new Set(
        FAVOURITES.flatMap((like) =>
          names.filter((name) => like.test(name) && !name.includes("broker=")).slice(0, 1),
        ).slice(0, 4),
      );
      if (chosen.size === 0) for (const name of names.slice(0, 4)) chosen.add(name);
    }
    render(bar, [
      h("div.view-bar", { key: "bar" }, [
        h("h3", { key: "h" }, "Metrics"),
        h("label", { key: "f" }, [
          "Find ",
          h("input", {
            key: "i",
            type: "search",
            value: search,
            on: {
              input: (/** @type {Event} */ e) => {
                search = /** @type {HTMLInputElement} */ (e.target).value.toLowerCase();
                draw();
              },
            },
          }),
        ]),
        h("span.muted", { key: "n" }, `${names.length} names; tick to chart`),
      ]),
    ]);
    const shown = [...(chosen ?? [])].filter((name) => names.includes(name)).slice(0, MAX_CHARTS);
    for (const [name, { plot, box }] of plots) {
      if (shown.includes(name)) continue;
      plot.destroy();
      box.remove();
      plots.delete(name);
    }
    const times = lab.store.samples.map((/** @type {any} */ sample) => sample.at_us / 1e6);
    shown.forEach((name, index) => {
      const data = [times, lab.store.samples.map((/** @type {any} */ sample) => sample.metrics[name] ?? null)];
      const known = plots.get(name);
      if (known) known.plot.setData(data);
      else plots.set(name, drawn(charts, name, data, TONES[index % TONES.length]));
    });
    render(access, security(lab, view));
    render(table, [
      h("div.scroll", { key: "s", tabindex: "0", role: "region", "aria-label": "All metrics" }, [
        h("table", { key: "t" }, [
          h(
            "thead",
            { key: "h" },
            h("tr", {}, [
              h("th", { scope: "col", key: "c" }, "Chart"),
              h("th", { scope: "col", key: "n" }, "Name"),
              h("th.num", { scope: "col", key: "v" }, "Now"),
            ]),
          ),
          h(
            "tbody",
            { key: "b" },
            names
              .filter((name) => name.toLowerCase().includes(search))
              .map((name) =>
                h("tr", { key: name }, [
                  h(
                    "td",
                    { key: "c" },
                    h("input", {
                      type: "checkbox",
                      "aria-label": `Chart ${name}`,
                      checked: chosen?.has(name),
                      on: {
                        change: () => {
                          if (chosen?.has(name)) chosen.delete(name);
                          else chosen?.add(name);
                          draw();
                        },
                      },
                    }),
                  ),
                  h("td.mono", { key: "n" }, name),
                  h("td.num", { key: "v" }, format(view.metrics[name])),
                ]),
              ),
          ),
        ]),
      ]),
    ]);
  }

  const again = () => {
    for (const { plot, box } of plots.values()) {
      plot.destroy();
      box.remove();
    }
    plots.clear();
    if (!root.hidden) draw();
  };
  keepFitting(charts, () => plots.values(), again);
  return { draw };
}

/** @param {HTMLElement} charts @param {string} name @param {any} data @param {string} tone */
function drawn(charts, name, data, tone) {
  const broker = /broker=\d+/.exec(name)?.[0]?.replace("broker=", ", broker ") ?? "";
  const caption = `${shortName(name)}${broker}`;
  return chart(charts, caption, name, data, [{ label: caption, tone }]);
}

/** @param {number} value */
const format = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2));

/** @param {string} name The short end of a JMX name. */
export const shortName = (name) => /name=([^,]+)/.exec(name)?.[1] ?? name;
