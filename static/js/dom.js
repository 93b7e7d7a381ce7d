// @ts-check
/**
 * What the views draw with: `h` describes an element, `render` makes a container look like a list of descriptions and touches
 * only what differs, so that focus, selection and running transitions survive each push. Text is always a text node.
 */

/**
 * @typedef {{tag: string, key: string, attrs: Record<string, any>, children: Array<VNode | string>}} VNode
 */

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set([
  "svg",
  "g",
  "rect",
  "line",
  "path",
  "circle",
  "text",
  "polygon",
  "title",
  "use",
  "polyline",
  "ellipse",
]);

/** @type {WeakMap<Element, Record<string, any>>} */
const drawn = new WeakMap();

/**
 * @param {string} tag with classes: "div.card.up"
 * @param {Record<string, any> | null} [attrs] `key`, `style` (an object), `on` (an object of listeners), `value`, any attribute
 * @param {...any} children
 * @returns {VNode}
 */
export function h(tag, attrs, ...children) {
  const [name, ...classes] = tag.split(".");
  const all = { ...(attrs ?? {}) };
  if (classes.length) all.class = all.class ? `${classes.join(" ")} ${all.class}` : classes.join(" ");
  const key = String(all.key ?? "");
  delete all.key;
  return { tag: name, key, attrs: all, children: flat(children) };
}

/** @param {any[]} list @returns {Array<VNode | string>} */
function flat(list) {
  /** @type {Array<VNode | string>} */
  const out = [];
  for (const item of list) {
    if (item === null || item === undefined || item === false || item === true) continue;
    if (Array.isArray(item)) out.push(...flat(item));
    else out.push(typeof item === "object" ? item : String(item));
  }
  return out;
}

/** @param {Element} parent @param {any} children */
export function render(parent, children) {
  reconcile(parent, flat([children]));
}

/** @param {VNode} node @param {boolean} inSvg @returns {Element} */
function create(node, inSvg) {
  const svg = node.tag === "svg" || (inSvg && SVG_TAGS.has(node.tag));
  const element = svg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  /** @type {any} */ (element).__key = `${node.tag}|${node.key}`;
  // Children first: a select takes a value only once it has the option.
  reconcile(element, node.children);
  apply(element, node.attrs);
  return element;
}

/** @param {Element} parent @param {Array<VNode | string>} wanted */
function reconcile(parent, wanted) {
  const inSvg = parent.namespaceURI === SVG;
  /** @type {Map<string, Element[]>} */
  const old = new Map();
  for (const child of parent.children) {
    const key = /** @type {any} */ (child).__key;
    if (key === undefined) continue;
    const list = old.get(key);
    if (list) list.push(child);
    else old.set(key, [child]);
  }
  /** @type {ChildNode | null} */
  let place = parent.firstChild;
  for (const node of wanted) {
    if (typeof node === "string") {
      if (place && place.nodeType === Node.TEXT_NODE) {
        if (place.nodeValue !== node) place.nodeValue = node;
        place = place.nextSibling;
      } else parent.insertBefore(document.createTextNode(node), place);
      continue;
    }
    const reuse = old.get(`${node.tag}|${node.key}`)?.shift();
    if (reuse) {
      reconcile(reuse, node.children);
      apply(reuse, node.attrs);
      if (reuse === place) place = place.nextSibling;
      else parent.insertBefore(reuse, place);
    } else parent.insertBefore(create(node, inSvg), place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** @param {Element} element @param {Record<string, any>} attrs */
function apply(element, attrs) {
  const before = drawn.get(element) ?? {};
  for (const name in before) if (!(name in attrs)) unset(element, name, before[name]);
  for (const name in attrs) {
    const value = attrs[name];
    if (name === "style" || name === "on") group(element, name, before[name] ?? {}, value ?? {});
    else if (value !== before[name] || name === "value" || name === "checked") set(element, name, value);
  }
  drawn.set(element, attrs);
}

/** @param {Element} element @param {string} name @param {any} value */
function set(element, name, value) {
  const control = /** @type {any} */ (element);
  if (name === "value") {
    // What somebody is typing stays his.
    const typing = document.activeElement === element && (control.type !== "range" || element.matches(":active"));
    if (control.value !== String(value) && !typing) control.value = String(value);
  } else if (name === "checked") control.checked = Boolean(value);
  else if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Element} element @param {string} name @param {any} value */
function unset(element, name, value) {
  if (name === "style" || name === "on") group(element, name, value, {});
  else element.removeAttribute(name);
}

/** @param {Element} element @param {string} name @param {Record<string, any>} before @param {Record<string, any>} now */
function group(element, name, before, now) {
  const style = /** @type {HTMLElement} */ (element).style;
  for (const key in before) {
    if (key in now) continue;
    if (name === "style") style.removeProperty(key);
    else element.removeEventListener(key, before[key]);
  }
  for (const key in now) {
    if (before[key] === now[key]) continue;
    if (name === "style") style.setProperty(key, String(now[key]));
    else {
      if (before[key]) element.removeEventListener(key, before[key]);
      element.addEventListener(key, now[key]);
    }
  }
}

/** @template {Element} [T=HTMLElement] @param {string} selector @param {ParentNode} [root] @returns {T} */
export function need(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`The page lacks ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Virtual microseconds as "0:04.182" or "12:00:04.182". @param {number} us */
export function clockText(us) {
  const ms = Math.floor(us / 1000);
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = String(Math.floor(ms / 1000) % 60).padStart(2, "0");
  const rest = String(ms % 1000).padStart(3, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}.${rest}` : `${minutes}:${seconds}.${rest}`;
}

/** A duration in words short enough for a badge. @param {number} us */
export function span(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 1_000_000) return `${+(us / 1000).toFixed(1)} ms`;
  if (us < 120_000_000) return `${+(us / 1_000_000).toFixed(1)} s`;
  return `${Math.round(us / 60_000_000)} min`;
}

/** @param {number} bytes */
export function bytesText(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/** "broker-1" → "broker 1". @param {string} name */
export const spoken = (name) =>
  name
    .replace(/^(broker|controller)-(\d+)$/, "$1 $2")
    .replace(/^group:/, "group ")
    .replace(/@(\d+)$/, " on broker $1")
    .replace(/^(.+)>(.+)$/, (_, from, to) => `${spoken(from)} → ${spoken(to)}`);
