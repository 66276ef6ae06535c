// Updates the parts of a page that change: elements with data-live="<seconds>". They stop in background tabs and while
// paused, and never replace what has the focus, the pointer or the selection.
(() => {
  const PAUSED = "boomerang-paused";
  const button = document.getElementById("pause-updates");
  const parts = () => document.querySelectorAll("[data-live]");
  const due = new WeakMap();
  let hovered = null;
  let failures = 0;
  let opened = [];

  const paused = () => sessionStorage.getItem(PAUSED) === "yes";

  // A row counts where it has something to click: the row under the pointer then does not move.
  function isControl(element) {
    const controls = "a, button, input, select, textarea, summary, label";
    return element.closest(controls) !== null || element.closest("tr, li")?.querySelector(controls) != null;
  }

  function inUse(part) {
    const selection = document.getSelection();
    const selects = selection && !selection.isCollapsed && selection.containsNode(part, true);
    const focused = document.activeElement !== part && part.contains(document.activeElement);
    return selects || focused || (hovered !== null && part.contains(hovered) && isControl(hovered));
  }

  function update() {
    if (paused() || document.hidden || document.querySelector("dialog[open]")) return;
    for (const part of parts()) {
      const seconds = Number(part.dataset.live) * 2 ** Math.min(failures, 4);
      const at = due.get(part) ?? Date.now() + seconds * 1000;
      if (Date.now() >= at && !inUse(part)) {
        due.set(part, Date.now() + seconds * 1000);
        htmx.trigger(part, "refresh");
      } else {
        due.set(part, at);
      }
    }
  }

  function say(text, link) {
    const place = document.getElementById("messages");
    let message = document.getElementById("live-problem");
    if (!text) { message?.remove(); return; }
    if (!message) {
      message = document.createElement("p");
      message.id = "live-problem";
      message.className = "message problem";
    }
    if (message.dataset.text === text) return;
    message.dataset.text = text;
    message.textContent = text + " ";
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link;
      anchor.textContent = "Log in";
      message.append(anchor);
    }
    place.append(message);
  }

  function showPaused() {
    button.setAttribute("aria-pressed", String(paused()));
    button.textContent = paused() ? "Go on with updates" : "Pause updates";
  }

  window.pauseUpdates = () => {
    sessionStorage.setItem(PAUSED, paused() ? "no" : "yes");
    showPaused();
  };

  document.addEventListener("pointerover", (event) => { hovered = event.target; });
  document.addEventListener("pointerout", (event) => { if (!event.relatedTarget) hovered = null; });
  document.addEventListener("htmx:beforeSwap", (event) => {
    // The person may have moved while the answer was on its way.
    const part = event.detail.target;
    if (!part?.matches("[data-live]")) return;
    if (paused() || inUse(part)) event.detail.shouldSwap = false;
    opened = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    opened = [];
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.elt?.matches("[data-live]")) return;
    if (event.detail.successful) {
      failures = 0;
      say("");
      return;
    }
    failures += 1;
    const status = event.detail.xhr?.status;
    if (status === 401) {
      const here = location.pathname + location.search;
      say("Your session has ended.", `/login?to=${encodeURIComponent(here)}`);
    } else if (failures > 1) {
      say("This page cannot be updated at the moment: it shows what was true before.");
    }
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });

  document.querySelector(".live-only").hidden = false;
  button.addEventListener("click", window.pauseUpdates);
  showPaused();
  setInterval(update, 1000);
})();
