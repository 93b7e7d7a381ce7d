// @ts-check
/** The terminal: Kafka's own tools against the lab, with history, and plain text for everything that comes back. */
import { need } from "./dom.js";

const MAX_LINES = 600;
const HISTORY = 100;

/** @param {any} lab */
export function start(lab) {
  const output = need("#console-output");
  const input = /** @type {HTMLInputElement} */ (need("#console-line"));
  /** @type {string[]} */
  const past = [];
  let at = 0;
  let prompt = "$";

  /** @param {string} text @param {string} tone */
  function print(text, tone) {
    const stick = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    for (const line of text.replace(/\n$/, "").split("\n")) {
      const element = document.createElement("div");
      element.className = tone;
      element.textContent = line || " ";
      output.append(element);
    }
    while (output.childElementCount > MAX_LINES) output.firstElementChild?.remove();
    if (stick) output.scrollTop = output.scrollHeight;
  }

  /** @param {string} line */
  async function run(line) {
    if (line.trim() === "clear") {
      output.replaceChildren();
      return;
    }
    print(`${prompt} ${line === "\u0004" ? "^D" : line}`.trim(), "typed");
    try {
      const answer = await lab.socket.request("console", { line });
      if (answer.output) print(answer.output, answer.failed ? "bad" : "");
      take(answer);
    } catch (error) {
      print(error instanceof Error ? error.message : String(error), "bad");
    }
  }

  /** @param {any} answer */
  function take(answer) {
    if (answer.prompt === undefined) return;
    prompt = answer.prompt;
    need("#console-prompt").textContent = prompt || "…";
    need("#console-stop").hidden = prompt !== "";
  }

  need("#console-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const line = input.value;
    input.value = "";
    if (!line && prompt === "$") return;
    if (line && past[past.length - 1] !== line) past.push(line);
    if (past.length > HISTORY) past.shift();
    at = past.length;
    run(line);
  });
  async function interrupt() {
    // A tool that runs says "^C" itself, as a terminal would.
    if (prompt === "$") print(`${prompt} ${input.value}^C`, "typed");
    input.value = "";
    try {
      const answer = await lab.socket.request("console", { line: "\u0003" });
      if (answer.output) print(answer.output, "");
      take(answer);
    } catch (error) {
      print(error instanceof Error ? error.message : String(error), "bad");
    }
    input.focus();
  }

  need("#console-stop").addEventListener("click", interrupt);
  input.addEventListener("keydown", (event) => {
    if (event.key === "d" && event.ctrlKey && !input.value && prompt !== "$") {
      event.preventDefault();
      run("\u0004");
    }
    if (event.key === "c" && event.ctrlKey && input.selectionStart === input.selectionEnd) {
      event.preventDefault();
      interrupt();
    }
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    at = Math.max(0, Math.min(past.length, at + (event.key === "ArrowUp" ? -1 : 1)));
    input.value = past[at] ?? "";
    input.setSelectionRange(input.value.length, input.value.length);
  });
  // Output that comes later: a console consumer's records, for as long as it runs.
  lab.socket.addEventListener("console", (/** @type {any} */ event) => {
    if (event.detail.ref === undefined || event.detail.ref === null) {
      if (event.detail.output) print(event.detail.output, "");
      take(event.detail);
    }
  });
  lab.runLine = (/** @type {string} */ line) => {
    lab.reveal("console");
    return run(line);
  };
  print(
    "Kafka’s own tools work here: kafka-topics.sh, kafka-console-producer.sh, kafka-configs.sh … Type help.",
    "muted",
  );
}
