// @ts-check
/** The page of a lab: joins the store, the socket, the stage's views and the panels around them. */
import { Actions } from "./actions.js";
import { start as startConsole } from "./console.js";
import { clockText, need } from "./dom.js";
import { start as startFeed } from "./feed.js";
import { FORK, forkOf } from "./forms.js";
import { start as startLesson } from "./lesson.js";
import { start as startMotion } from "./motion.js";
import { start as startShare } from "./share.js";
import { Socket } from "./socket.js";
import { Store } from "./store.js";
import { start as startTimeline } from "./timeline.js";
import { create as createBytes } from "./views/bytes.js";
import { create as createCluster } from "./views/cluster.js";
import { create as createGroups } from "./views/groups.js";
import { create as createLedger } from "./views/ledger.js";
import { create as createLog } from "./views/log.js";
import { create as createMetrics } from "./views/metrics.js";
import { create as createNetwork } from "./views/network.js";
import { create as createText } from "./views/text.js";
import { create as createTransactions } from "./views/transactions.js";

const VIEWS = {
  cluster: createCluster,
  log: createLog,
  groups: createGroups,
  transactions: createTransactions,
  network: createNetwork,
  metrics: createMetrics,
  bytes: createBytes,
  ledger: createLedger,
  text: createText,
};

const ANSWER_WITHIN_MS = 5000;

class LabPage {
  /** @param {any} config {sandboxId, socketPath, lesson} */
  constructor(config) {
    this.config = config;
    this.store = new Store();
    this.socket = new Socket(config.socketPath);
    this.actions = new Actions(this);
    /** @type {Record<string, any>} */
    this.views = {};
    this.shown = "cluster";
    this.toastTimer = 0;
    this.askedAt = Number.NEGATIVE_INFINITY;
    /** @type {(id: number) => void} */
    this.why = () => {};
    /** @type {() => Promise<void>} time runs again, as fast as it did */
    this.play = async () => {};
    /** @type {(line: string) => Promise<void>} */
    this.runLine = async () => {};
  }

  start() {
    for (const [name, create] of Object.entries(VIEWS)) this.views[name] = create(need(`#view-${name}`), this);
    this.motion = startMotion(need("#view-cluster"), this);
    this.tabs(need('[role="tablist"]'), (name) => this.show(name));
    const panes = document.querySelector("[data-panes]");
    if (panes)
      for (const button of panes.querySelectorAll("button"))
        button.addEventListener("click", () => this.reveal(button.dataset.pane ?? "stage"));
    this.closeable(/** @type {HTMLDetailsElement} */ (need(".legend")));
    startTimeline(this);
    startFeed(this);
    startConsole(this);
    startShare(this);
    startLesson(this);
    this.listen();
    this.socket.connect();
  }

  listen() {
    const { socket, store } = this;
    for (const type of ["view", "diff"]) {
      socket.addEventListener(type, (/** @type {any} */ event) => {
        if (store.accept(event.detail)) socket.send({ t: "ack", to: event.detail.to });
        else socket.send({ t: "view" });
      });
    }
    socket.addEventListener("clock", (/** @type {any} */ event) => {
      store.setClock(event.detail.clock);
      store.changed("clock");
    });
    socket.addEventListener("notice", (/** @type {any} */ event) => this.toast(String(event.detail.message ?? "")));
    socket.addEventListener("error", (/** @type {any} */ event) => {
      if (event.detail.ref === undefined || event.detail.ref === null)
        this.toast(String(event.detail.error?.message ?? "The lab refused this."));
    });
    socket.addEventListener("state", () => this.badge());
    // What the cluster itself refuses, it refuses after the form is closed.
    store.addEventListener("push", (/** @type {any} */ event) => {
      if (performance.now() - this.askedAt > ANSWER_WITHIN_MS) return;
      for (const { kind, level, text } of event.detail.fresh)
        if (kind === "AdminAnswered" && level === "major") this.toast(text);
    });
    store.addEventListener("draw", () => this.draw());
    this.badge();
  }

  badge() {
    const badge = need("#connection");
    const words = {
      connecting: "connecting",
      live: "live",
      lost: "connection lost, trying again",
      refused: "this lab is not yours or is gone",
    };
    badge.dataset.state = this.socket.state;
    badge.textContent = words[/** @type {keyof typeof words} */ (this.socket.state)] ?? this.socket.state;
  }

  draw() {
    if (!this.store.view) return;
    document.body.dataset.ready = "true";
    this.views[this.shown].draw();
    if (this.shown === "cluster") this.motion?.follow();
    if (this.shown !== "text") this.views.text.draw();
  }

  /** @param {HTMLElement} list @param {(name: string) => void} show */
  tabs(list, show) {
    const tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll('[role="tab"]')]);
    for (const tab of tabs) tab.addEventListener("click", () => show(tab.dataset.view ?? ""));
    list.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      const tab = tabs[(to + tabs.length) % tabs.length];
      tab.focus();
      show(tab.dataset.view ?? "");
    });
  }

  /** What unfolds over the stage folds up again at a click elsewhere and at Escape. @param {HTMLDetailsElement} details */
  closeable(details) {
    document.addEventListener("click", (event) => {
      if (!details.contains(/** @type {Node} */ (event.target))) details.open = false;
    });
    details.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      details.open = false;
      details.querySelector("summary")?.focus();
    });
  }

  /** @param {string} name */
  show(name) {
    this.shown = name;
    for (const tab of document.querySelectorAll('[role="tab"]')) {
      const on = /** @type {HTMLElement} */ (tab).dataset.view === name;
      tab.setAttribute("aria-selected", String(on));
      /** @type {HTMLElement} */ (tab).tabIndex = on ? 0 : -1;
      if (on) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    for (const view of Object.keys(VIEWS)) {
      const panel = need(`#view-${view}`);
      panel.hidden = view !== name && view !== "text";
      if (view === "text") panel.classList.toggle("sr", name !== "text");
    }
    this.draw();
  }

  /** On a narrow screen one pane shows at a time. @param {string} pane */
  reveal(pane) {
    const room = need("[data-stage]");
    room.dataset.pane = pane;
    for (const button of document.querySelectorAll("[data-panes] button")) {
      button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.pane === pane));
    }
    this.draw();
  }

  /** @param {string} id such as "orders-0" */
  openLog(id) {
    this.show("log");
    this.views.log.choose(id);
  }

  /** @param {string} id the group's */
  openGroup(id) {
    this.show("groups");
    this.views.groups.choose(id);
  }

  /** @param {number} broker @param {string} topic @param {number} partition @param {number} offset */
  openBytes(broker, topic, partition, offset) {
    this.show("bytes");
    this.views.bytes.choose(broker, topic, partition, offset);
  }

  /** A command; rejects with what the lab says against it. @param {any} command */
  submit(command) {
    this.askedAt = performance.now();
    return this.socket.request("command", { command });
  }

  /** A command from a menu or a button: a refusal becomes a notice. @param {any} command */
  async act(command) {
    try {
      return await this.submit(command);
    } catch (error) {
      this.toast(error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  /** @param {string} type @param {any} [content] */
  async ask(type, content = {}) {
    try {
      return await this.socket.request(type, content);
    } catch (error) {
      this.toast(error instanceof Error ? error.message : String(error));
      return null;
    }
  }

  /** A twin that parts from this lab at the moment shown; with one setting changed, both are laid side by side. @param {any} preset what the form begins with */
  fork(preset = {}) {
    const at = this.store.clock.now_us;
    this.actions.ask(
      FORK,
      preset,
      () => `at ${clockText(at)} of branch ${this.store.clock.branch}`,
      async (read) => {
        const wish = forkOf(read);
        // Two futures are compared at the same moment: this one waits where the twin will stand.
        const paused = wish.change ? await this.socket.request("speed", { speed: 0 }) : null;
        const answer = await this.socket.request("fork", { at_us: at, ...wish });
        const stand = wish.replay ? paused?.clock.end_us : at;
        if (paused && paused.clock.now_us !== stand) await this.socket.request("seek", { at_us: stand });
        location.assign(wish.change ? answer.twin_url : answer.url);
      },
    );
  }

  /** The elements that stand for these objects, the exact ones first. @param {string[]} ids @returns {Element[]} */
  find(ids) {
    /** @type {Element[]} */
    const found = [];
    const panel = need(`#view-${this.shown}`);
    for (const id of ids) {
      const name = CSS.escape(id);
      const exact = panel.querySelector(`[data-object="${name}"], article[data-concerns="${name}"]`);
      if (exact) found.push(exact.classList.contains("machine-head") ? (exact.closest("article") ?? exact) : exact);
      else found.push(...panel.querySelectorAll(`[data-concerns~="${name}"]`));
    }
    return found;
  }

  /** Lights up what an event is about. @param {string[]} ids */
  flash(ids) {
    for (const element of document.querySelectorAll(".lit")) element.classList.remove("lit");
    for (const element of this.find(ids ?? [])) element.classList.add("lit");
  }

  /** @param {string} message */
  toast(message) {
    const toast = need("#toast");
    toast.textContent = message;
    toast.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = window.setTimeout(() => {
      toast.hidden = true;
    }, 7000);
  }
}

const page = new LabPage(JSON.parse(need("#lab-config").textContent ?? "{}"));
page.start();
