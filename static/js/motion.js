// @ts-check
/**
 * Motion that shows causality, and none for its own sake: messages travel along their links, a badge that leaves the ISR drops away,
 * the object that an important event concerns lights up once. Slow and paused time show each message where it is; at 1x and faster
 * only what matters pulses. With reduced motion nothing moves.
 */
import { calm } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const MIN_FLIGHT_MS = 420;
const MAX_DOTS = 48;
const MAX_PULSES = 10;

/** @param {HTMLElement} stage the positioned box that holds the machines @param {any} lab */
export function start(stage, lab) {
  const { store } = lab;
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("class", "wires");
  layer.setAttribute("aria-hidden", "true");
  stage.append(layer);
  /** @type {Map<number, {dot: SVGElement, path: SVGPathElement, length: number, born: number, lasts: number, flight: any}>} */
  const dots = new Map();
  /** @type {Map<string, DOMRect>} */
  let boxes = new Map();
  let origin = stage.getBoundingClientRect();
  let stale = true;

  function measure() {
    stale = false;
    origin = stage.getBoundingClientRect();
    boxes = new Map();
    for (const element of stage.querySelectorAll("[data-anchor]")) {
      boxes.set(/** @type {HTMLElement} */ (element).dataset.anchor ?? "", element.getBoundingClientRect());
    }
    layer.setAttribute("width", String(stage.clientWidth));
    layer.setAttribute("height", String(stage.scrollHeight));
  }

  /** @param {string} from @param {string} to @returns {string | null} */
  function route(from, to) {
    const a = boxes.get(from);
    const b = boxes.get(to);
    if (!a || !b) return null;
    const ax = a.left + a.width / 2 - origin.left;
    const bx = b.left + b.width / 2 - origin.left;
    const top = origin.top - stage.scrollTop;
    const lean = from < to ? 7 : -7;
    if (a.bottom > b.top && b.bottom > a.top) {
      const up = Math.min(a.top, b.top) - top;
      return `M${ax + lean} ${a.top - top} C${ax + lean} ${up - 26} ${bx + lean} ${up - 26} ${bx + lean} ${b.top - top}`;
    }
    const down = a.bottom <= b.top;
    const y1 = (down ? a.bottom : a.top) - top;
    const y2 = (down ? b.top : b.bottom) - top;
    const middle = (y1 + y2) / 2;
    return `M${ax + lean} ${y1} C${ax + lean} ${middle} ${bx + lean} ${middle} ${bx + lean} ${y2}`;
  }

  /** @param {string} tag @param {Record<string, string>} attributes */
  function make(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  /** Cut and worn links stay drawn. */
  function worn() {
    for (const old of layer.querySelectorAll(".link-worn")) old.remove();
    for (const [key, link] of Object.entries(store.view?.links ?? {})) {
      const path = route(link.source, link.target);
      if (!path) continue;
      const line = make("path", { d: path, class: `link-worn ${link.cut ? "cut" : "slow"}` });
      line.setAttribute("data-link", key);
      layer.prepend(line);
    }
  }

  /** @param {any} flight @param {number} born */
  function launch(flight, born) {
    const d = route(flight.source, flight.target);
    if (!d) return;
    const path = /** @type {SVGPathElement} */ (make("path", { d, class: "wire" }));
    const dot = make("circle", { r: "4.5", class: `flight kind-${kindOf(flight.kind)}` });
    const title = make("title", {});
    title.textContent = flight.label || flight.kind;
    dot.append(title);
    layer.append(path, dot);
    const { speed } = store.clock;
    const lasts = Math.max(
      MIN_FLIGHT_MS,
      speed > 0 ? (flight.arrives_us - flight.sent_us) / 1000 / speed : MIN_FLIGHT_MS,
    );
    dots.set(flight.id, { dot, path, length: path.getTotalLength(), born, lasts: Math.min(lasts, 6000), flight });
  }

  /** @param {number} id */
  function land(id) {
    const entry = dots.get(id);
    entry?.dot.remove();
    entry?.path.remove();
    dots.delete(id);
  }

  function follow() {
    const view = store.view;
    if (!view || stage.hidden || stage.offsetParent === null) return;
    if (stale) measure();
    worn();
    const { running, speed } = store.clock;
    const slow = !running || (speed > 0 && speed < 1);
    const now = performance.now();
    if (slow) {
      const here = new Set();
      for (const flight of view.in_flight) {
        here.add(flight.id);
        if (!dots.has(flight.id) && dots.size < MAX_DOTS && (!calm() || !running)) launch(flight, now);
      }
      if (!running) for (const id of [...dots.keys()]) if (!here.has(id)) land(id);
    } else for (const [id, entry] of dots) if (now - entry.born > entry.lasts) land(id);
  }

  function frame() {
    if (dots.size) {
      const now = performance.now();
      const { running } = store.clock;
      const at = store.clock.now_us;
      for (const [id, entry] of dots) {
        const { flight } = entry;
        const share = running
          ? (now - entry.born) / entry.lasts
          : (at - flight.sent_us) / Math.max(1, flight.arrives_us - flight.sent_us);
        if (running && share >= 1) {
          land(id);
          continue;
        }
        const point = entry.path.getPointAtLength(entry.length * Math.max(0, Math.min(1, share)));
        entry.dot.setAttribute("cx", String(point.x));
        entry.dot.setAttribute("cy", String(point.y));
      }
    }
    requestAnimationFrame(frame);
  }

  /** @param {any} event */
  function news(event) {
    if (calm() || stage.hidden) return;
    const fresh = event.detail.fresh.filter((/** @type {any} */ s) => s.level === "major").slice(-MAX_PULSES);
    for (const sentence of fresh)
      for (const element of lab.find(sentence.objects.slice(0, 3))) pulse(element, sentence.kind);
  }

  /** @param {Element} element @param {string} kind */
  function pulse(element, kind) {
    const bad = /Kill|Lost|Cut|Fenc|Expired|Failed|Refused|Truncated/.test(kind);
    element.animate(
      [{ boxShadow: `0 0 0 0 ${bad ? "var(--offline)" : "var(--leader)"}` }, { boxShadow: "0 0 0 7px transparent" }],
      { duration: 700, easing: "ease-out" },
    );
  }

  /** A badge that left the ISR drops out of its place. Called before the stage is drawn anew. */
  function leaving() {
    const { before, view } = store;
    if (calm() || !before || !view || before === view || before.topics === view.topics) return;
    for (const [name, topic] of Object.entries(view.topics)) {
      for (const [number, partition] of Object.entries(topic.partitions)) {
        const old = before.topics[name]?.partitions[number];
        if (!old || old.isr === partition.isr) continue;
        for (const broker of old.isr) {
          if (partition.isr.includes(broker)) continue;
          const badge = stage.querySelector(`[data-isr="${CSS.escape(`${name}-${number}@${broker}`)}"]`);
          if (badge) drop(/** @type {HTMLElement} */ (badge));
        }
      }
    }
  }

  /** @param {HTMLElement} badge */
  function drop(badge) {
    const box = badge.getBoundingClientRect();
    const ghost = /** @type {HTMLElement} */ (badge.cloneNode(true));
    ghost.classList.add("ghost-badge");
    ghost.setAttribute("aria-hidden", "true");
    ghost.removeAttribute("data-isr");
    ghost.style.setProperty("left", `${box.left}px`);
    ghost.style.setProperty("top", `${box.top}px`);
    document.body.append(ghost);
    ghost
      .animate(
        [
          { transform: "none", opacity: 1 },
          { transform: "translate(26px, 46px) rotate(12deg)", opacity: 0 },
        ],
        { duration: 900, easing: "cubic-bezier(.3,0,.8,.4)" },
      )
      .finished.finally(() => ghost.remove());
  }

  new ResizeObserver(() => {
    stale = true;
    for (const id of [...dots.keys()]) land(id);
  }).observe(stage);
  store.addEventListener("push", (/** @type {any} */ event) => {
    leaving();
    news(event);
  });
  store.addEventListener("jump", () => {
    for (const id of [...dots.keys()]) land(id);
  });
  requestAnimationFrame(frame);
  return {
    follow() {
      stale = true;
      follow();
    },
  };
}

/** @param {string} kind */
function kindOf(kind) {
  if (/Produce/.test(kind)) return "produce";
  if (/Fetch/.test(kind)) return "fetch";
  return "control";
}
