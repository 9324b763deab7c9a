// How far back one can go, where the server keeps that much, and where one is.

import { duration } from "./page.js";

/** Seconds that must be there: a usual playlist, which is no place to go back in, has less. */
const LEAST = 20;
/** This close to the live edge is live, seconds. */
const LIVE = 3;

export class Timeline {
  /** `seek(behind)` is told how many seconds behind the live edge the viewer wants to be, 0 for live. */
  constructor(slider, seek) {
    this.slider = slider;
    this.held = false;
    slider.addEventListener("pointerdown", () => { this.held = true; });
    for (const event of ["pointerup", "pointercancel"]) slider.addEventListener(event, () => { this.held = false; });
    slider.addEventListener("input", () => this.say());
    slider.addEventListener("change", () => {
      const behind = -slider.valueAsNumber;
      seek(behind > LIVE ? behind : 0);
    });
  }

  get shown() { return !this.slider.hidden; }

  /** `range` is what can be played now, from `start` to the live edge `end`, null: nothing; `at` is where it plays. Seconds. */
  show(range, at) {
    const length = range ? range.end - range.start : 0;
    this.slider.hidden = !(length >= LEAST);
    if (this.slider.hidden || this.held) return;
    this.slider.min = -Math.floor(length);
    this.slider.value = Math.min(0, at - range.end);
    this.say();
  }

  say() {
    const behind = -this.slider.valueAsNumber;
    this.slider.setAttribute("aria-valuetext", behind > LIVE ? `${duration(behind)} behind live` : "live");
  }
}
