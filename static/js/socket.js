// @ts-check
/**
 * The one connection to the lab. Requests carry a number and come back as promises; pushes are acknowledged as soon as they are
 * folded in, since the server sends at most two ahead; a lost connection comes back by itself, with growing patience.
 */

/** A refusal of the server, with the field that it names. */
export class Refusal extends Error {
  /** @param {{message: string, field?: string, code?: string, cure?: string}} error */
  constructor(error) {
    // The field is in sight and keeps what was typed: nobody has to be told to correct it.
    const cure = error.cure?.startsWith("Correct this field") ? "" : (error.cure ?? "");
    const stop = cure && !/[.!?:]$/.test(error.message) ? "." : "";
    super(`${error.message}${stop} ${cure}`.trim());
    this.field = error.field ?? "";
    this.code = error.code ?? "";
  }
}

const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 8000;
const ANSWER_MS = 30_000;

export class Socket extends EventTarget {
  /** @param {string} path */
  constructor(path) {
    super();
    this.path = path;
    this.ref = 0;
    this.delay = FIRST_DELAY_MS;
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void, timer: number}>} */
    this.waiting = new Map();
    /** @type {WebSocket | null} */
    this.wire = null;
    /** @type {string} "connecting" | "live" | "lost" | "refused" */
    this.state = "connecting";
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const wire = new WebSocket(`${scheme}//${location.host}${this.path}`);
    this.wire = wire;
    wire.addEventListener("open", () => {
      this.delay = FIRST_DELAY_MS;
      this.become("live");
    });
    wire.addEventListener("message", (event) => this.read(event.data));
    wire.addEventListener("close", (event) => {
      if (this.wire !== wire) return;
      this.fail(new Refusal({ message: "The connection to the lab was lost before it answered." }));
      if (event.code >= 4400 && event.code < 4500) {
        this.become("refused");
        return;
      }
      this.become("lost");
      setTimeout(() => this.connect(), this.delay * (0.7 + 0.6 * Math.random()));
      this.delay = Math.min(this.delay * 2, MAX_DELAY_MS);
    });
  }

  /** @param {string} state */
  become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  /** @param {string | Blob} data */
  async read(data) {
    const message = JSON.parse(typeof data === "string" ? data : await data.text());
    const answer = message.ref === undefined || message.ref === null ? undefined : this.waiting.get(message.ref);
    if (answer) {
      this.waiting.delete(message.ref);
      clearTimeout(answer.timer);
      if (message.t === "error") answer.reject(new Refusal(message.error));
      else answer.resolve(message);
    }
    this.dispatchEvent(new CustomEvent(message.t, { detail: message }));
  }

  /** @param {Record<string, any>} message */
  send(message) {
    if (this.wire?.readyState === WebSocket.OPEN) this.wire.send(JSON.stringify(message));
  }

  /** @param {string} type @param {Record<string, any>} [content] @returns {Promise<any>} */
  request(type, content = {}) {
    if (this.wire?.readyState !== WebSocket.OPEN) {
      return Promise.reject(
        new Refusal({ message: "The lab is not connected just now. It will be tried again by itself." }),
      );
    }
    const ref = ++this.ref;
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.waiting.delete(ref);
        reject(new Refusal({ message: "The lab has not answered for 30 s." }));
      }, ANSWER_MS);
      this.waiting.set(ref, { resolve, reject, timer });
      this.send({ ...content, t: type, ref });
    });
  }

  /** @param {Error} error */
  fail(error) {
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.waiting.clear();
  }
}
