(() => {
  const root = document.documentElement;
  const show = (language) => {
    root.dataset.show = language;
    root.lang = language === "zh" ? "zh-CN" : "en";
    for (const button of document.querySelectorAll("button[data-language]"))
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    for (const option of document.querySelectorAll("option[data-en]")) option.textContent = option.dataset[language];
  };
  for (const button of document.querySelectorAll("button[data-language]"))
    button.addEventListener("click", () => show(button.dataset.language));
  show(root.dataset.show);

  const [one, other] = ["one", "other"].map((id) => document.getElementById(id));
  const choose = () => {
    for (const panel of document.querySelectorAll(".panel")) {
      panel.hidden = panel.dataset.cluster !== one.value && panel.dataset.cluster !== other.value;
      panel.style.order = panel.dataset.cluster === one.value ? 0 : 1;
    }
    const shown = [one, other].filter((list) => list.value).map((list) => list.selectedOptions[0].textContent);
    document.getElementById("shown").textContent = shown.join(" / ");
  };
  const open = (hash = location.hash) => {
    const panel = document.querySelector(hash.startsWith("#cluster-") ? hash : "#none");
    if (!panel) return;
    one.value = panel.dataset.cluster;
    choose();
    panel.scrollIntoView();
  };
  if (one) {
    one.addEventListener("change", choose);
    other.addEventListener("change", choose);
    choose();
    addEventListener("hashchange", () => open());
    // A link to where the address is already changes no address.
    addEventListener("click", (event) => {
      const link = event.target.closest?.("a[href^='#cluster-']");
      if (link && link.hash === location.hash) open(link.hash);
    });
    open();
  }

  // What is folded away is printed too.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const order = before === "descending" ? "ascending" : before === "ascending" ? "none" : "descending";
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      if (order === "none") return body.append(...rows); // a third press: as it was
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = ({ cells: { [column]: { dataset } } }) =>
        dataset.sort ?? dataset[root.dataset.show === "zh" ? "sortZh" : "sortEn"] ?? "";
      body.append(...[...rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is left out comes last
        return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
      }));
    }));
  }
})();
