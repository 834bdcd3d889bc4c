// Where a picture lies in a frame of the page: zoom and place, without any element of the page.
"use strict";

class View {
  // Size of the picture in its own pixels.
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.frame = { width: 1, height: 1 };
    this.fit();
  }

  // Size of the frame on the page.
  resize(width, height) {
    this.frame = { width: Math.max(1, width), height: Math.max(1, height) };
    this.settle();
  }

  // Dots of the page to a picture's pixel when all of it is seen.
  get whole() {
    return Math.min(this.frame.width / this.width, this.frame.height / this.height);
  }

  // Dots of the page to a picture's pixel.
  get scale() {
    return this.whole * this.zoom;
  }

  get isWhole() {
    return this.zoom <= 1.001;
  }

  fit() {
    this.zoom = 1;
    this.x = this.width / 2;
    this.y = this.height / 2;
  }

  // Zooms by a factor; the place (x, y) of the frame stays where it is.
  zoomBy(factor, x = this.frame.width / 2, y = this.frame.height / 2) {
    const held = this.place(x, y);
    this.zoom *= factor;
    this.settle();
    const now = this.place(x, y);
    this.x += held.x - now.x;
    this.y += held.y - now.y;
    this.settle();
  }

  // Moves the picture by dots of the page.
  moveBy(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.settle();
  }

  // Shows a part of the picture with its surroundings.
  showArea(left, top, width, height) {
    const scale = 0.6 * Math.min(this.frame.width / width, this.frame.height / height);
    this.zoom = scale / this.whole;
    this.x = left + width / 2;
    this.y = top + height / 2;
    this.settle();
  }

  // The picture's pixel at a place of the frame.
  place(x, y) {
    return {
      x: this.x + (x - this.frame.width / 2) / this.scale,
      y: this.y + (y - this.frame.height / 2) / this.scale,
    };
  }

  // Keeps zoom and place within bounds: from the whole picture to 32 dots a pixel, no empty border that can be avoided.
  settle() {
    const largest = Math.max(1, 32 / this.whole);
    this.zoom = Math.min(largest, Math.max(1, this.zoom));
    const keep = (centre, size, room) => {
      const half = room / this.scale / 2;
      return half * 2 >= size ? size / 2 : Math.min(size - half, Math.max(half, centre));
    };
    this.x = keep(this.x, this.width, this.frame.width);
    this.y = keep(this.y, this.height, this.frame.height);
  }

  // As a value of the style property `transform`, for a picture of its own size at the frame's corner.
  get transform() {
    const left = this.frame.width / 2 - this.x * this.scale;
    const top = this.frame.height / 2 - this.y * this.scale;
    return `translate(${left.toFixed(2)}px, ${top.toFixed(2)}px) scale(${this.scale.toFixed(5)})`;
  }
}
