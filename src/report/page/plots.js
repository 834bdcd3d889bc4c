// Plots that tell the figures of a frame under the pointer and link to its pictures.
"use strict";

class PlotReader {
  // `open` is called with the number of a frame.
  constructor(figure, data, names, colors, open) {
    this.figure = figure;
    this.canvas = figure.querySelector(".canvas");
    this.cursor = figure.querySelector(".cursor");
    this.readout = figure.querySelector(".readout");
    this.data = data;
    this.names = names;
    this.colors = colors;
    this.open = open;
    const numbers = (text) => text.split(",").map(Number);
    [this.left, this.top, this.right, this.bottom] = numbers(figure.dataset.area);
    [this.first, this.last] = numbers(figure.dataset.frames);
    this.all = [...new Set(data.curves.flatMap((curve) => curve.frames))].sort((a, b) => a - b);
    this.frame = this.all[0];
    this.canvas.addEventListener("pointermove", (event) => this.show(this.under(event)));
    this.canvas.addEventListener("pointerleave", () => document.activeElement === this.canvas || this.hide());
    this.canvas.addEventListener("click", (event) => this.open(this.under(event)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.canvas.matches(":focus-visible") && this.show(this.frame));
    this.canvas.addEventListener("blur", () => this.hide());
  }

  // The frame under a pointer: of those drawn, the nearest.
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const part = ((event.clientX - box.left) / box.width - this.left) / (this.right - this.left);
    return PlotReader.nearest(this.all, this.first + part * (this.last - this.first));
  }

  static nearest(sorted, wanted) {
    let [low, high] = [0, sorted.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    const before = sorted[Math.max(0, low - 1)];
    return wanted - before < sorted[low] - wanted ? before : sorted[low];
  }

  show(frame) {
    this.frame = frame;
    const part = this.left + ((frame - this.first) / (this.last - this.first)) * (this.right - this.left);
    this.cursor.style.left = `${100 * part}%`;
    this.cursor.style.top = `${100 * this.top}%`;
    this.cursor.style.height = `${100 * (this.bottom - this.top)}%`;
    const lines = this.values(frame).map(({ method, text }) => this.line(method, text));
    const head = document.createElement("strong");
    head.textContent = `Frame ${frame}`;
    this.readout.replaceChildren(head, ...lines);
    this.readout.style.left = part < 0.5 ? `calc(${100 * part}% + 10px)` : "auto";
    this.readout.style.right = part < 0.5 ? "auto" : `calc(${100 * (1 - part)}% + 10px)`;
    this.cursor.hidden = this.readout.hidden = false;
    this.canvas.setAttribute("aria-valuenow", String(frame));
    const spoken = this.values(frame).map(({ method, text }) => `${this.names[method]} ${text}`);
    this.canvas.setAttribute("aria-valuetext", `Frame ${frame}: ${spoken.join(", ")}`);
  }

  // What the curves that are shown have for a frame.
  values(frame) {
    const shown = this.data.curves.filter((curve) => !this.hidden?.has(this.colors[curve.method]));
    return shown.flatMap(({ method, frames, values }) => {
      const at = frames.indexOf(PlotReader.nearest(frames, frame));
      // A long clip's curve keeps the extremes alone: what is told is the nearest of them, within a dot.
      const near = Math.abs(frames[at] - frame) <= (this.last - this.first) / 400;
      return near ? [{ method, text: values[at].toFixed(this.data.digits) }] : [];
    });
  }

  line(method, text) {
    const line = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.dataset.color = String(this.colors[method]);
    const value = document.createElement("b");
    value.textContent = text;
    line.append(swatch, this.names[method], value);
    return line;
  }

  hide() {
    this.cursor.hidden = this.readout.hidden = true;
  }

  key(event) {
    const at = this.all.indexOf(this.frame);
    const page = Math.max(1, Math.round(this.all.length / 10));
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -page, PageUp: page };
    const ends = { Home: 0, End: this.all.length - 1 };
    if (event.key === "Enter") this.open(this.frame);
    else if (event.key in steps) this.show(this.all[Math.min(this.all.length - 1, Math.max(0, at + steps[event.key]))]);
    else if (event.key in ends) this.show(this.all[ends[event.key]]);
    else if (event.key === "Escape") this.hide();
    else return;
    event.preventDefault();
  }

  // Shows or hides the curves of one colour.
  setShown(color, shown) {
    this.hidden ??= new Set();
    shown ? this.hidden.delete(color) : this.hidden.add(color);
    const code = `#${color.toString(16).toUpperCase().padStart(6, "0")}`;
    for (const shape of this.canvas.querySelectorAll(`[stroke="${code}"], circle[fill="${code}"]`)) {
      shape.style.display = shown ? "" : "none";
    }
  }
}
