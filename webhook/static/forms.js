// A form is sent once, also by a double click; and the theme changes without leaving the page, which may hold a form.
(() => {
  const MOMENT = 5000; // ms after which a form may be sent again, if its page is still there

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.hasAttribute("data-sent")) { event.preventDefault(); return; }
    form.setAttribute("data-sent", ""); // its buttons stay enabled: the one that was pressed is sent with it
    setTimeout(() => form.removeAttribute("data-sent"), MOMENT);
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) form.removeAttribute("data-sent");
  });

  // The same as webhook.pages.theme.keep.
  document.querySelector("form.themes").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = event.submitter.value;
    document.cookie = `boomerang-theme=${chosen}; max-age=31536000; path=/; samesite=lax`;
    document.documentElement.dataset.theme = chosen;
    for (const button of event.target.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === chosen));
  });
})();
