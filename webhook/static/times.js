// Shows times in the viewer's zone, and keeps relative ones right. Without it they are in UTC, as of the page's load.
(() => {
  const exact = new Intl.DateTimeFormat("en-GB", {
    year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // The same as webhook.pages.formats.relative.
  function relative(moment) {
    const seconds = (Date.now() - moment) / 1000;
    const size = Math.abs(seconds);
    const unit = units.find(([least]) => size >= least);
    if (!unit) return "now";
    const text = `${Math.floor(size / unit[0])} ${unit[1]}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  function show(root) {
    for (const each of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(each.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = exact.format(moment);
      each.title = text;
      const wanted = each.hasAttribute("data-absolute") ? text : relative(moment);
      if (each.textContent !== wanted) each.textContent = wanted;
    }
  }

  show(document);
  for (const name of ["htmx:afterSwap", "boomerang:shown"]) document.addEventListener(name, (event) => show(event.target));
  setInterval(() => { if (!document.hidden) show(document); }, 10000);
})();
