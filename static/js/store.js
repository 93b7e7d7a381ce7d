// @ts-check
/**
 * The lab as this page knows it: the view tree, the clock and the newest sentences. Folds the patches of `engine/view/diff.py`:
 * an object laid over an object merges, anything else replaces; "-" lists the keys to drop, "--x" stands for the key "-x".
 * Trees are kept without prototypes, because `__proto__` is a legal topic name.
 */

/**
 * @typedef {{now_us: number, begin_us: number, end_us: number, speed: number, running: boolean, actual_speed: number,
 *   branch: string, branches: Array<any>, breakpoints: Array<any>, paused_by: string, received: number}} Clock
 * @typedef {{id: number, at_us: number, node: string, level: string, text: string, objects: string[], kind: string, causes: number[]}} Sentence
 */

const MAX_SENTENCES = 1500;
const MAX_SAMPLES = 600;

/** @param {any} old @param {any} patch @returns {any} */
export function fold(old, patch) {
  if (!isMap(old) || !isMap(patch)) return bare(patch);
  const tree = Object.assign(Object.create(null), old);
  for (const mark of Object.keys(patch)) {
    if (mark === "-") continue;
    const key = mark.startsWith("-") ? mark.slice(1) : mark;
    const value = patch[mark];
    tree[key] = isMap(tree[key]) && isMap(value) ? fold(tree[key], value) : bare(value);
  }
  for (const key of patch["-"] ?? []) delete tree[key];
  return tree;
}

/** @param {any} value */
const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** @param {any} value @returns {any} the same tree, its maps without prototypes */
function bare(value) {
  if (!isMap(value)) return value;
  const tree = Object.create(null);
  for (const key of Object.keys(value)) tree[key] = bare(value[key]);
  return tree;
}

/** @param {any} view @returns {Record<string, number>} */
function lagsOf(view) {
  /** @type {Record<string, number>} */
  const lags = Object.create(null);
  for (const group of Object.values(view.groups ?? {}))
    for (const at of group.offsets) if (at.lag >= 0) lags[`${group.id} ${at.topic}-${at.partition}`] = at.lag;
  return lags;
}

export class Store extends EventTarget {
  constructor() {
    super();
    /** @type {any} */
    this.view = null;
    /** @type {any} The tree before the newest push: what moved is what differs. */
    this.before = null;
    this.version = -1;
    /** @type {Clock} */
    this.clock = {
      now_us: 0,
      begin_us: 0,
      end_us: 0,
      speed: 1,
      running: false,
      actual_speed: 1,
      branch: "main",
      branches: [],
      breakpoints: [],
      paused_by: "",
      received: 0,
    };
    /** @type {Sentence[]} */
    this.sentences = [];
    /** @type {Array<{at_us: number, metrics: any, lags: Record<string, number>}>} lags by "group topic-partition" */
    this.samples = [];
    this.scheduled = false;
  }

  /** @param {any} message a {t:"view"} or {t:"diff"}; false: a push was missed, ask for a whole view */
  accept(message) {
    if (message.t === "diff" && (this.view === null || message.from !== this.version)) return false;
    const jumped = message.t === "view";
    this.before = this.view;
    this.view = jumped ? bare(message.view) : fold(this.view, message.diff);
    this.version = message.to;
    if (message.clock) this.setClock(message.clock);
    if (jumped) {
      this.before = this.view;
      if (message.sentences) this.sentences = [];
    }
    const now = this.now();
    if (this.samples.length && this.samples[this.samples.length - 1].at_us > this.view.now_us) {
      this.samples = this.samples.filter((sample) => sample.at_us <= this.view.now_us);
    }
    const last = this.samples[this.samples.length - 1];
    if (!last || last.at_us < this.view.now_us) {
      this.samples.push({ at_us: this.view.now_us, metrics: this.view.metrics ?? {}, lags: lagsOf(this.view) });
      if (this.samples.length > MAX_SAMPLES) this.samples.splice(0, this.samples.length - MAX_SAMPLES);
    }
    this.add(message.sentences ?? []);
    this.changed(jumped ? "jump" : "push", { fresh: message.sentences ?? [], now });
    return true;
  }

  /** @param {any} clock */
  setClock(clock) {
    this.clock = { ...this.clock, ...clock, received: performance.now() };
  }

  /** @param {Sentence[]} fresh */
  add(fresh) {
    if (!fresh.length) return;
    const newest = this.sentences.length ? this.sentences[this.sentences.length - 1].id : -1;
    if (fresh[0].id > newest) this.sentences.push(...fresh);
    else {
      const known = new Map(this.sentences.map((sentence) => [sentence.id, sentence]));
      for (const sentence of fresh) known.set(sentence.id, sentence);
      this.sentences = [...known.values()].sort((a, b) => a.id - b.id);
    }
    this.forget();
  }

  /** Too many: the oldest of the small ones go first, so that a busy minute does not push out what mattered. */
  forget() {
    let surplus = this.sentences.length - MAX_SENTENCES;
    if (surplus <= 0) return;
    for (const level of ["trace", "minor", "major"]) {
      this.sentences = this.sentences.filter((sentence) => sentence.level !== level || surplus-- <= 0);
      if (surplus <= 0) return;
    }
  }

  /** Virtual time now, carried on between pushes by the clock on the wall. */
  now() {
    const { now_us, speed, actual_speed, running, received } = this.clock;
    if (!running || speed < 0) return now_us;
    const factor = actual_speed > 0 ? Math.min(actual_speed, speed) : speed;
    const ahead = Math.min(performance.now() - received, 400) * 1000 * factor;
    return now_us + ahead;
  }

  /** @param {string} what @param {any} [detail] */
  changed(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
    if (this.scheduled) return;
    this.scheduled = true;
    const draw = () => {
      this.scheduled = false;
      this.dispatchEvent(new CustomEvent("draw"));
    };
    if (document.hidden) setTimeout(draw, 250);
    else requestAnimationFrame(draw);
  }
}
