// The gallery by keyboard: arrows walk the images, Enter opens one over the page, Escape closes it. Without this file the
// same links open a page for each image.
(() => {
  const box = document.getElementById("lightbox");
  const links = () => [...document.querySelectorAll("a[data-shot]")];
  let at = -1;

  async function open(place) {
    const link = links()[place];
    if (!link) return;
    at = place;
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" }, redirect: "manual" });
    if (!answer.ok) { location.assign(link.href); return; }
    const text = await answer.text();
    if (place !== at) return;
    const page = new DOMParser().parseFromString(text, "text/html"); // its scripts, if there were any, do not run
    box.replaceChildren(...page.body.childNodes);
    if (!box.open) box.showModal();
    for (const near of [place - 1, place + 1]) links()[near]?.querySelector("img")?.removeAttribute("loading");
  }

  function step(by) {
    if (box.open) { open(at + by); return; }
    const all = links();
    const place = all.indexOf(document.activeElement);
    all[Math.min(all.length - 1, Math.max(0, place < 0 ? 0 : place + by))]?.focus();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-shot]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      open(links().indexOf(link));
    } else if (event.target === box) {
      box.close();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input:not([type=radio]), textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=radio]")) return; // arrows choose there
    if (event.key === "ArrowRight") { step(1); event.preventDefault(); }
    if (event.key === "ArrowLeft") { step(-1); event.preventDefault(); }
  });
  box.addEventListener("close", () => { links()[at]?.focus(); box.replaceChildren(); });
})();
