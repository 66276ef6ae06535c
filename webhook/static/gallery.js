// The gallery by keyboard: arrows walk the images, Enter opens one over the page, Escape closes it. Without this file the
// same links open a page for each image.
(() => {
  const box = document.getElementById("lightbox");
  const view = document.getElementById("lightbox-view");
  const place = document.getElementById("lightbox-place");
  const links = () => [...document.querySelectorAll("a[data-shot]")];
  const address = (link) => link.getAttribute("href");
  let at = -1;
  let leaving = null; // until the browser has gone back to the entry of its history without the image
  let saving = false;

  function parsed(text) {
    return new DOMParser().parseFromString(text, "text/html").body; // its scripts, if there were any, do not run
  }

  function show(body) {
    view.replaceChildren(...body.childNodes);
    view.scrollTop = 0;
    if (box.open && !box.contains(document.activeElement)) view.focus();
    view.dispatchEvent(new CustomEvent("boomerang:shown", { bubbles: true }));
  }

  function problem(text, href) {
    const message = document.createElement("p");
    message.className = "message problem";
    message.setAttribute("role", "alert");
    message.textContent = text + " ";
    if (href) {
      const link = document.createElement("a");
      link.href = href;
      link.textContent = "Log in";
      message.append(link);
    }
    view.querySelector(".message")?.remove();
    view.prepend(message);
  }

  async function open(number, { remember = true } = {}) {
    const link = links()[number];
    if (!link) return;
    at = number;
    await leaving;
    let answer, text;
    try {
      answer = await fetch(link.href, { headers: { "HX-Request": "true" }, redirect: "manual" });
      text = await answer.text();
    } catch {
      if (number !== at) return;
      if (box.open) problem("The service does not answer."); else location.assign(link.href);
      return;
    }
    if (number !== at) return; // the person has gone on
    if (!answer.ok) { location.assign(link.href); return; } // the page says what is wrong, or asks for the login
    const all = links();
    place.textContent = `Image ${number + 1} of ${all.length}`;
    for (const button of box.querySelectorAll("[data-step]")) button.disabled = !all[number + Number(button.dataset.step)];
    show(parsed(text));
    const state = { shot: address(link) };
    if (!box.open) {
      box.showModal();
      view.focus();
      if (remember) history.pushState(state, "");
    } else if (remember) {
      history.replaceState(state, "");
    }
  }

  function columns(all) {
    const top = all[0].getBoundingClientRect().top;
    return all.filter((link) => Math.abs(link.getBoundingClientRect().top - top) < 2).length;
  }

  function walk(key) {
    const all = links();
    const from = all.indexOf(document.activeElement);
    const vertical = key === "ArrowUp" || key === "ArrowDown";
    if (!all.length || (vertical && from < 0)) return false; // the page scrolls
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(all), ArrowDown: columns(all) }[key];
    all[from < 0 ? 0 : from + by]?.focus();
    return true;
  }

  // What the gallery shows of a review is what the image shows of it.
  function mark(link) {
    const shot = link.closest(".shot");
    const marks = view.querySelector("[data-marks]");
    if (!marks) return;
    shot.className = `shot ${marks.dataset.marks}`;
    shot.querySelector(".marks").replaceChildren(...marks.cloneNode(true).childNodes);
  }

  async function save(form, submitter) {
    if (saving) return;
    saving = true;
    const link = links()[at];
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form, submitter)), headers: { "HX-Request": "true" }, redirect: "manual",
      });
      const body = parsed(await answer.text());
      if (answer.ok) {
        show(body);
        mark(link);
      } else {
        const said = body.querySelector(".message.problem")?.textContent ?? "The review was not recorded.";
        problem(said, answer.status === 401 ? `/login?to=${encodeURIComponent(address(link))}` : null);
      }
    } catch {
      problem("The service does not answer: the review was not recorded.");
    } finally {
      saving = false;
    }
  }

  // a, x and s review the open image without a click.
  function review(key) {
    const form = view.querySelector("form.review");
    if (!form) return false;
    if (key === "s") form.elements.starred.checked = !form.elements.starred.checked;
    else form.elements.verdict.value = form.dataset[key === "a" ? "accept" : "reject"];
    save(form);
    return true;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-shot]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey && event.button === 0) {
      event.preventDefault();
      open(links().indexOf(link));
    } else if (event.target === box || event.target.closest("[data-close]")) {
      box.close();
    } else if (event.target.closest("[data-step]")) {
      open(at + Number(event.target.closest("[data-step]").dataset.step));
    }
  });
  view.addEventListener("submit", (event) => {
    event.preventDefault();
    save(event.target, event.submitter);
  });
  document.addEventListener("keydown", (event) => {
    const written = event.target.closest("input:not([type=checkbox]), textarea, select"); // arrows choose among radio buttons
    if (written || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]:not(#lightbox)")) return;
    let used = false;
    if (!box.open) used = event.key.startsWith("Arrow") && walk(event.key);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") { open(at + (event.key === "ArrowRight" ? 1 : -1)); used = true; }
    else if (["a", "x", "s"].includes(event.key)) used = review(event.key);
    if (used) event.preventDefault();
  });
  box.addEventListener("close", () => {
    view.replaceChildren();
    if (history.state?.shot) {
      leaving = new Promise((resolve) => { addEventListener("popstate", resolve, { once: true }); });
      history.back();
    }
    links()[at]?.focus();
    at = -1;
  });

  // The button Back closes the image, and comes back to it from a page that it links to.
  function follow() {
    leaving = null;
    const number = links().findIndex((link) => address(link) === history.state?.shot);
    if (number >= 0) open(number, { remember: false });
    else if (box.open) box.close();
  }
  addEventListener("popstate", follow);
  addEventListener("pageshow", follow);
})();
