// Light or dark as the system is set, until the user chooses. Runs before the page is drawn, so that a
// dark page does not flash.
const root = document.documentElement;
const chosen = (() => {
  try { return localStorage.getItem("phraseclick-theme"); } catch { return null; }
})();
if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector("button.theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("phraseclick-theme", root.dataset.theme); } catch { /* storage is disabled */ }
  });
});
