// @ts-check
/** Passing a lab on: a link that leads anybody to the same cluster at the same moment, or the same as a file. */
import { need } from "./dom.js";

/** @param {any} lab */
export function start(lab) {
  const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#share-dialog"));
  if (!dialog) return;
  const link = /** @type {HTMLInputElement} */ (need("#share-link", dialog));
  const said = need("[data-said]", dialog);

  need("#share").addEventListener("click", async () => {
    said.textContent = "";
    const answer = await lab.ask("share", {});
    if (!answer) return;
    link.value = new URL(answer.url, location.href).href;
    /** @type {HTMLAnchorElement} */ (need("#share-file", dialog)).href = answer.file_url;
    dialog.showModal();
    link.select();
  });
  need("#share-copy", dialog).addEventListener("click", async () => {
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
      said.textContent = "Copied.";
    } catch {
      said.textContent = "Press Ctrl+C to copy the marked link.";
    }
  });
  need("[data-close]", dialog).addEventListener("click", () => dialog.close());
}
