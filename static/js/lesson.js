// @ts-check
/** The lesson beside the stage: goals as the lab reports them, buttons that do a step's commands, and how sure a prediction is. */
import { need } from "./dom.js";

/** @param {any} lab */
export function start(lab) {
  const panel = document.querySelector("#lesson");
  if (!panel) return;
  lab.socket.addEventListener("goals", (/** @type {any} */ event) => {
    goals(panel, event.detail.goals ?? []);
    steps(panel, event.detail);
  });

  panel.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-do]") : null;
    if (!(button instanceof HTMLButtonElement)) return;
    button.disabled = true;
    button.classList.add("pressed");
    const time = lab.store.clock;
    const content = JSON.parse(button.dataset.do ?? "[]");
    for (const item of Array.isArray(content) ? content : [content]) {
      const done = item.console !== undefined ? await lab.runLine(item.console) : await lab.act(item);
      if (done === null) break;
    }
    button.classList.remove("pressed");
    button.disabled = false;
    button.classList.add("done");
    afterwards(lab, time);
  });
  // What the server carries out by itself, for waits lie between the commands.
  const carried = (/** @type {any} */ event) => event.detail.requestConfig?.path?.includes("/do/");
  /** @type {any} */
  let before = null;
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (carried(event)) before = lab.store.clock;
  });
  document.body.addEventListener("htmx:afterRequest", (/** @type {any} */ event) => {
    if (carried(event) && before && event.detail.successful) afterwards(lab, before);
  });
  panel.addEventListener("input", (event) => {
    const slider = event.target;
    if (slider instanceof HTMLInputElement && slider.matches("[data-sure]")) say(slider);
  });
  document.body.addEventListener("htmx:load", () => sliders(panel));
  // A part that the server refuses stays as it was; the reason comes as a notice.
  document.body.addEventListener("htmx:responseError", (/** @type {any} */ event) => {
    const { status, responseText } = event.detail.xhr;
    lab.toast(status < 500 && responseText.length < 400 ? responseText : `The server failed (${status}). Try again.`);
  });
  document.body.addEventListener("htmx:sendError", () => lab.toast("The server did not answer. Try again."));
  if (!location.hash) {
    const current = panel.querySelector(".steps [aria-current]")?.getAttribute("data-step-dot");
    if (current && current !== "1") panel.querySelector(`[data-step="${current}"]`)?.scrollIntoView();
  }
  sliders(panel);
}

/** A press in a past that stands still, as after a reset, begins a new branch: let it run. A pause of one's own is only named. @param {any} lab @param {any} time the clock before the press */
function afterwards(lab, time) {
  if (time.running) return;
  if (time.end_us - time.now_us > 1) lab.play();
  else if (!lab.store.clock.running) lab.toast("Done, but time is paused: press play or step to see what follows.");
}

/** @param {Element} panel */
function sliders(panel) {
  for (const slider of panel.querySelectorAll("[data-sure]")) say(/** @type {HTMLInputElement} */ (slider));
}

/** @param {HTMLInputElement} slider */
function say(slider) {
  const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
  const ladder = (slider.dataset.sure ?? "").split("|");
  const words = ladder[Math.round(share * (ladder.length - 1))];
  const output = slider.parentElement?.querySelector("output");
  if (output) output.textContent = words;
  slider.setAttribute("aria-valuetext", words);
}

/** @param {Element} panel @param {Array<{name: string, step?: any, met: boolean, broken?: boolean, text?: string, detail?: string}>} list */
function goals(panel, list) {
  let news = "";
  for (const goal of list) {
    const item = panel.querySelector(`[data-goal="${CSS.escape(goal.name)}"]`);
    if (!item) continue;
    const state = goal.broken ? "broken" : goal.met ? "met" : "open";
    const before = item.getAttribute("data-state");
    if (before !== state) {
      item.setAttribute("data-state", state);
      if (state === "met") news = `Goal reached: ${item.querySelector("[data-text]")?.textContent ?? goal.name}`;
      if (state === "broken") news = `Broken: ${item.querySelector("[data-text]")?.textContent ?? goal.name}`;
    }
    const words = item.querySelector("[data-words]");
    if (words) words.textContent = state === "met" ? "done" : state === "broken" ? "broken" : "not yet";
    const detail = item.querySelector("[data-detail]");
    if (detail) detail.textContent = state === "met" ? "" : (goal.detail ?? "");
  }
  if (news) need("#live").textContent = news;
}

/** Which steps are done, which one is at work; a step that has begun can be taken back. @param {Element} panel @param {{step: number, done: boolean}} at */
function steps(panel, at) {
  for (const dot of panel.querySelectorAll("[data-step-dot]")) {
    const number = Number(dot.getAttribute("data-step-dot"));
    dot.classList.toggle("done", number < at.step);
    if (number === at.step) dot.setAttribute("aria-current", "step");
    else dot.removeAttribute("aria-current");
  }
  const done = panel.querySelector("[data-lesson-done]");
  if (done instanceof HTMLElement) done.hidden = !at.done;
  for (const form of panel.querySelectorAll("[data-reset]")) {
    /** @type {HTMLElement} */ (form).hidden = Number(form.getAttribute("data-reset")) > at.step;
  }
}
