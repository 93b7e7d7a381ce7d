/* Runs before the first paint, as a plain script: a stored choice of light or dark must not flash. */
(() => {
  const root = document.documentElement;
  const stored = (() => {
    try {
      return localStorage.getItem("kafkalab-theme");
    } catch {
      return null;
    }
  })();
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
  root.dataset.js = "on";
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-theme-toggle]") : null;
    if (!button) return;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("kafkalab-theme", root.dataset.theme);
    } catch {
      /* Storage is refused: the choice lasts as long as the page. */
    }
    document.dispatchEvent(new CustomEvent("themechange"));
  });
})();
