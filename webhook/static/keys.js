// The keyboard: ? help, / search, j and k rows, p pause, g and a letter for a page. A page adds its own with
// `window.boomerangKeys["x"] = () => …`.
(() => {
  const help = document.getElementById("keys");
  const own = (window.boomerangKeys = window.boomerangKeys || {});
  const SEARCH = "input[type=search], [data-search]";
  let goes = 0;

  function rows() {
    return [...document.querySelectorAll("[data-row], main tbody tr")].filter((row) => row.offsetParent !== null);
  }

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const row = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    row.tabIndex = -1;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function press(key) {
    switch (key) {
      case "?": help.showModal(); return true;
      case "j": move(1); return true;
      case "k": move(-1); return true;
      case "p": window.pauseUpdates(); return true;
      case "g": goes = Date.now(); return true;
      case "/": {
        const search = document.querySelector(SEARCH);
        const jobs = document.querySelector('.top a[data-key="j"]');
        if (search) { search.focus(); search.select(); }
        else if (jobs) location.assign(`${jobs.getAttribute("href")}#search`); // every page searches; those without a field of their own, jobs
        return Boolean(search || jobs);
      }
      case "Enter": {
        const row = document.activeElement;
        if (!row?.matches("tr, [data-row]")) return false;
        row.querySelector("a[href]")?.click();
        return true;
      }
      default: return false;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), select, textarea, dialog[open], [contenteditable]")) return;
    if (Date.now() - goes < 1500) {
      goes = 0;
      const link = document.querySelector(`.top a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (event.key in own) { own[event.key](event); return; }
    if (press(event.key)) event.preventDefault();
  });
  if (location.hash === "#search") document.querySelector(SEARCH)?.focus();
  const nav = document.querySelector(".top nav");
  const current = nav?.querySelector("[aria-current]");
  if (current) nav.scrollLeft = current.offsetLeft - (nav.clientWidth - current.offsetWidth) / 2; // where the navigation scrolls: on phones
  document.getElementById("show-keys").addEventListener("click", () => help.showModal());
})();
