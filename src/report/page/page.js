// Puts the parts of the page together: pictures, tests, keys, theme, paper.
"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);

class Page {
  constructor() {
    this.pictures = read("pictures");
    this.data = read("data");
    this.tests = this.data.tests.map((test, n) => this.setUp(test, document.getElementById(`test-${n}`)));
    this.current = 0;
    for (const image of document.querySelectorAll("img[data-picture]")) {
      image.src = this.pictures[Number(image.dataset.picture)];
    }
    for (const tile of document.querySelectorAll(".tile")) tile.addEventListener("click", () => this.openTile(tile));
    for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
    this.tabs();
    this.theme();
    this.paper();
    document.getElementById("help").addEventListener("click", () => this.help());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  // One test: its table, viewer and plots.
  setUp(test, root) {
    sortable(root.querySelector("table"));
    const place = root.querySelector(".viewer");
    const viewer = place && new Viewer(place, test, this.pictures, this.data.advised);
    const open = (frame) => this.openFrame(viewer, frame);
    const colors = [...root.querySelectorAll("tbody .swatch")].map((swatch) => Number(swatch.dataset.color));
    const plots = [...root.querySelectorAll(".plot")].map(
      (figure, n) => new PlotReader(figure, test.plots[n], test.names, colors, open),
    );
    for (const box of root.querySelectorAll(".legend input")) {
      box.addEventListener("change", () => plots.forEach((p) => p.setShown(Number(box.dataset.color), box.checked)));
    }
    for (const link of root.querySelectorAll("a.frame")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        open(Number(link.dataset.frame));
      });
    }
    return { root, viewer, plots };
  }

  get viewer() {
    return this.tests[this.current]?.viewer;
  }

  // Brings a viewer into sight at a frame.
  openFrame(viewer, frame) {
    if (!viewer) return;
    viewer.showFrame(frame);
    viewer.root.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    viewer.stage.focus({ preventScroll: true });
  }

  // The place of a crop in the viewer, its method at the right.
  openTile(tile) {
    this.select(Number(tile.dataset.test));
    const { viewer } = this;
    if (!viewer) return;
    this.openFrame(viewer, Number(tile.dataset.frame));
    viewer.choose("b", tile.dataset.name);
    viewer.showArea(tile.dataset.area.split(",").map(Number));
  }

  // Shows one test, hides the others.
  select(number) {
    this.current = number;
    this.tests.forEach(({ root }, n) => { root.hidden = n !== number; });
    document.querySelectorAll("[role=tab]").forEach((tab, n) => {
      tab.setAttribute("aria-selected", String(n === number));
      tab.tabIndex = n === number ? 0 : -1;
    });
    this.viewer?.measure();
  }

  tabs() {
    const tabs = [...document.querySelectorAll("[role=tab]")];
    tabs.forEach((tab, n) => {
      tab.addEventListener("click", () => this.select(n));
      tab.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1 };
        if (!(event.key in steps)) return;
        const next = (n + steps[event.key] + tabs.length) % tabs.length;
        this.select(next);
        tabs[next].focus();
        event.preventDefault();
      });
    });
  }

  // As the system has it, until the button is pressed; then as it was left, where the browser keeps that.
  theme() {
    const root = document.documentElement;
    const store = (act) => { try { return act(); } catch { return null; } };
    const kept = store(() => localStorage.getItem("subpel-theme"));
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
    this.toggleTheme = () => {
      const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      root.dataset.theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
      store(() => localStorage.setItem("subpel-theme", root.dataset.theme));
    };
    document.getElementById("theme").addEventListener("click", this.toggleTheme);
  }

  // On paper everything is open.
  paper() {
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = [...document.querySelectorAll("details:not([open])")];
      for (const each of closed) each.open = true;
    });
    addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
  }

  help() {
    document.getElementById("keys").showModal();
  }

  key(event) {
    const within = event.target instanceof Element && event.target.closest("select, textarea, dialog[open]");
    if (within || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = /^Digit([1-9])$/.exec(event.code);
    const acts = {
      "?": () => this.help(),
      "t": () => this.toggleTheme(),
      ",": () => this.viewer?.act("previous"),
      ".": () => this.viewer?.act("next"),
      "x": () => this.viewer?.act("swap"),
      "s": () => this.viewer?.setMode("slider"),
      "p": () => this.viewer?.setMode("pair"),
      "b": () => this.viewer?.setMode("blink"),
      "d": () => this.viewer?.setMode("difference"),
      "+": () => this.viewer?.act("in"),
      "=": () => this.viewer?.act("in"),
      "-": () => this.viewer?.act("out"),
      "0": () => this.viewer?.act("fit"),
    };
    const { viewer } = this;
    if (digit && viewer) viewer.choose(event.shiftKey ? "a" : "b", viewer.names[Number(digit[1]) - 1]);
    else if (event.key === " " && viewer?.mode === "blink" && !event.target.closest("button, input, summary")) viewer.turnByHand();
    else if (Object.hasOwn(acts, event.key.toLowerCase())) acts[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  }
}

// Copies the text before a button; says so on it.
async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Where a page from a disk may not: the text is marked, ready for Ctrl-C.
    getSelection().selectAllChildren(code);
    button.textContent = "Marked";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

const page = new Page();
