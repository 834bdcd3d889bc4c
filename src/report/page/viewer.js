// Two pictures against each other: slider, pair, blink or difference, with one view for both.
"use strict";

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

class Viewer {
  constructor(root, test, pictures, advised) {
    this.root = root;
    this.shots = test.shots;
    this.pictures = pictures;
    this.view = new View(test.size[0], test.size[1]);
    this.mode = "slider";
    this.split = 50;
    this.index = 0;
    this.find();
    this.stage.style.aspectRatio = `${test.size[0]} / ${test.size[1]}`;
    for (const picture of this.images) {
      picture.style.width = `${test.size[0]}px`;
      picture.style.height = `${test.size[1]}px`;
    }
    this.names = [...new Set(test.shots.flatMap((shot) => shot.pictures.map((p) => p.name)))];
    const right = this.names.includes(advised) ? advised : this.names[this.names.length - 1];
    this.chosen = { a: this.names.find((name) => name !== right) ?? right, b: right };
    this.fillChoices();
    this.listen();
    new ResizeObserver(() => this.measure()).observe(this.stage);
    this.show(0);
  }

  find() {
    const one = (selector) => this.root.querySelector(selector);
    this.stage = one(".stage");
    this.divider = one(".divider");
    this.panes = { a: one(".pane.a"), b: one(".pane.b") };
    this.images = [one(".pane.a img"), one(".pane.b img")];
    this.tags = { a: one(".tag.a"), b: one(".tag.b") };
    this.choices = { a: one("[data-choose=a]"), b: one("[data-choose=b]"), frame: one("[data-choose=frame]") };
    this.zoomText = one(".zoom");
    this.message = one(".message");
  }

  fillChoices() {
    for (const side of ["a", "b"]) {
      this.choices[side].replaceChildren(...this.names.map((name) => new Option(name, name)));
    }
  }

  listen() {
    this.choices.frame.addEventListener("change", () => this.show(Number(this.choices.frame.value)));
    for (const side of ["a", "b"]) {
      this.choices[side].addEventListener("change", () => this.choose(side, this.choices[side].value));
    }
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.addEventListener("click", () => this.setMode(button.dataset.mode));
    }
    for (const button of this.root.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.act(button.dataset.do));
    }
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.divider.addEventListener("keydown", (event) => this.dividerKey(event));
    new Pointers(this);
  }

  act(what) {
    const acts = {
      previous: () => this.show(this.index - 1),
      next: () => this.show(this.index + 1),
      swap: () => this.swap(),
      in: () => this.zoomBy(1.5),
      out: () => this.zoomBy(1 / 1.5),
      fit: () => this.fit(),
    };
    acts[what]?.();
  }

  // Shows a frame by its place among those with pictures.
  show(index, message = "") {
    this.index = Math.min(this.shots.length - 1, Math.max(0, index));
    this.choices.frame.value = String(this.index);
    this.message.textContent = message;
    this.paint();
  }

  // Shows the frame of this number, or the nearest there is; says which.
  showFrame(frame) {
    const apart = this.shots.map((shot) => Math.abs(shot.frame - frame));
    const nearest = apart.indexOf(Math.min(...apart));
    const there = this.shots[nearest].frame;
    const text = there === frame ? `Frame ${frame}` : `No pictures of frame ${frame} were kept; this is frame ${there}.`;
    this.show(nearest, text);
    return there === frame;
  }

  choose(side, name) {
    if (!this.names.includes(name)) return;
    const other = side === "a" ? "b" : "a";
    if (this.chosen[other] === name) this.chosen[other] = this.chosen[side];
    this.chosen[side] = name;
    this.paint();
  }

  swap() {
    this.chosen = { a: this.chosen.b, b: this.chosen.a };
    this.paint();
  }

  // Sets both sources and their names.
  paint() {
    const shot = this.shots[this.index];
    ["a", "b"].forEach((side, n) => {
      const name = this.chosen[side];
      const picture = shot.pictures.find((p) => p.name === name);
      const image = this.images[n];
      image.hidden = !picture;
      if (picture) image.src = this.pictures[picture.picture];
      image.alt = picture ? `Frame ${shot.frame}: ${name}` : "";
      this.tags[side].textContent = picture ? name : `${name}: no picture of this frame`;
      this.choices[side].value = name;
    });
    this.place();
  }

  setMode(mode) {
    this.mode = mode;
    this.stage.dataset.mode = mode;
    for (const button of this.root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    clearInterval(this.blinking);
    this.turn(false);
    // Nothing moves by itself for those who asked for that: Space turns over.
    if (mode === "blink" && !calm()) this.blinking = setInterval(() => this.turn(), 600);
    if (mode === "blink") this.message.textContent = "Space turns over by hand.";
    this.measure();
  }

  // While blinking: the other picture, or the right one if `over` says so.
  turn(over = !this.turned) {
    this.turned = over;
    this.stage.dataset.shown = over ? "b" : "a";
  }

  turnByHand() {
    clearInterval(this.blinking);
    this.turn();
  }

  setSplit(percent) {
    this.split = Math.min(100, Math.max(0, percent));
    this.place();
  }

  fit() {
    this.view.fit();
    this.view.settle();
    this.place();
  }

  zoomBy(factor, x, y) {
    this.view.zoomBy(factor, x, y);
    this.place();
  }

  moveBy(dx, dy) {
    this.view.moveBy(dx, dy);
    this.place();
  }

  showArea(area) {
    this.measure();
    this.view.showArea(...area);
    this.place();
  }

  // The stage has another size, or is divided otherwise.
  measure() {
    const { clientWidth, clientHeight } = this.stage;
    if (clientWidth === 0) return;
    this.view.resize(this.mode === "pair" ? clientWidth / 2 : clientWidth, clientHeight);
    this.place();
  }

  // Puts both pictures where the one view says, and the border.
  place() {
    const { view } = this;
    for (const image of this.images) {
      image.style.transform = view.transform;
      image.classList.toggle("pixels", view.scale * devicePixelRatio >= 2.5);
    }
    this.stage.classList.toggle("whole", view.isWhole);
    this.zoomText.textContent = `${Math.round(view.scale * 100)} %`;
    this.panes.b.style.clipPath = this.mode === "slider" ? `inset(0 0 0 ${this.split}%)` : "none";
    this.divider.style.left = `${this.split}%`;
    this.divider.setAttribute("aria-valuenow", String(Math.round(this.split)));
    this.divider.setAttribute("aria-valuetext", `${Math.round(this.split)} % ${this.chosen.a}`);
  }

  key(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = steps[event.key];
    if (!step) return;
    if (this.view.isWhole) {
      // Nothing to move but the border; up and down scroll the page.
      if (step[0] === 0 || this.mode !== "slider") return;
      this.setSplit(this.split - 2 * step[0]);
    } else {
      this.moveBy(48 * step[0], 48 * step[1]);
    }
    event.preventDefault();
  }

  dividerKey(event) {
    const large = event.shiftKey ? 10 : 2;
    const steps = { ArrowLeft: -large, ArrowDown: -large, ArrowRight: large, ArrowUp: large, PageDown: -10, PageUp: 10 };
    const ends = { Home: 0, End: 100 };
    if (event.key in steps) this.setSplit(this.split + steps[event.key]);
    else if (event.key in ends) this.setSplit(ends[event.key]);
    else return;
    event.preventDefault();
  }
}

// Mouse, pen and fingers on a stage: one drags, two zoom, a click sets the border, the wheel zooms.
class Pointers {
  constructor(viewer) {
    this.viewer = viewer;
    this.stage = viewer.stage;
    this.down = new Map();
    this.stage.addEventListener("pointerdown", (event) => this.start(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, (event) => this.end(event));
    }
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("dblclick", () => viewer.view.isWhole || viewer.fit());
    // A page that is scrolled under a resting mouse goes on being scrolled.
    addEventListener("scroll", () => { this.meant = false; }, { passive: true });
  }

  at(event) {
    const box = this.stage.getBoundingClientRect();
    const width = this.viewer.view.frame.width;
    const x = event.clientX - box.left;
    return { x, y: event.clientY - box.top, inPane: x % width, percent: (100 * x) / box.width };
  }

  start(event) {
    if (event.button !== 0) return;
    this.stage.setPointerCapture(event.pointerId);
    this.onDivider = event.target === this.viewer.divider;
    this.moved = false;
    this.origin = this.at(event);
    this.down.set(event.pointerId, this.origin);
  }

  move(event) {
    if (event.movementX || event.movementY) this.meant = true;
    const before = this.down.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    if (Math.hypot(now.x - this.origin.x, now.y - this.origin.y) > 3) this.moved = true;
    if (this.down.size === 2) this.pinch(event.pointerId, now);
    else if (this.moved) this.drag(before, now);
    this.down.set(event.pointerId, now);
  }

  drag(before, now) {
    const { viewer } = this;
    if (viewer.mode === "slider" && (this.onDivider || viewer.view.isWhole)) viewer.setSplit(now.percent);
    else viewer.moveBy(now.x - before.x, now.y - before.y);
  }

  pinch(id, now) {
    this.moved = true;
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, place]) => place);
    const before = this.down.get(id);
    const apart = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
    this.viewer.zoomBy(apart(now) / apart(before), (now.inPane + other.inPane) / 2, (now.y + other.y) / 2);
    this.viewer.moveBy((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  end(event) {
    const known = this.down.delete(event.pointerId);
    if (!known || this.moved || event.type === "pointercancel") return;
    if (this.viewer.mode === "slider") this.viewer.setSplit(this.at(event).percent);
    if (this.viewer.mode === "blink") this.viewer.turnByHand();
  }

  wheel(event) {
    const outwards = event.deltaY > 0;
    if (!(this.meant || event.ctrlKey || this.stage.contains(document.activeElement))) return;
    if (outwards && this.viewer.view.isWhole && !event.ctrlKey) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
    const { inPane, y } = this.at(event);
    this.viewer.zoomBy(Math.exp(-Math.max(-300, Math.min(300, pixels)) * 0.0025), inPane, y);
  }
}
