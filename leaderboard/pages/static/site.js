// What the pages gain with JavaScript: the theme button, copy buttons, clean addresses.
(() => {
  const root = document.documentElement;
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

  const button = document.querySelector("[data-theme-button]");
  if (button) {
    button.hidden = false;
    const tell = () => button.setAttribute("aria-pressed", String(isDark()));
    tell();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* only for this page */ }
      tell();
      document.dispatchEvent(new Event("theme-changed"));
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new Event("theme-changed")));

  const ready = (scope) => {
    for (const copy of scope.querySelectorAll("[data-copy][hidden]")) {
      if (!navigator.clipboard) continue;
      copy.hidden = false;
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(copy.dataset.copy);
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
    }
  };
  ready(document);
  document.addEventListener("htmx:load", (event) => ready(event.detail.elt));

  // the address holds what differs from a fresh page, nothing else
  const usual = { sort: "rank", protocol: "all", page: "1" };
  document.addEventListener("htmx:configRequest", (event) => {
    const { parameters, elt } = event.detail;
    if (!elt.matches("form.filters")) return;
    for (const key of [...new Set(parameters.keys())]) {
      const values = parameters.getAll(key).filter((value) => value !== "" && value !== usual[key]);
      parameters.delete(key);
      for (const value of values) parameters.append(key, value);
    }
    const boxes = [...elt.querySelectorAll("input[name=col]")];
    if (boxes.length && boxes.every((box) => box.checked === box.defaultChecked)
        && !new URLSearchParams(location.search).has("col")) parameters.delete("col");
  });
})();
