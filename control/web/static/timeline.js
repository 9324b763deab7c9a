// How far back one can go, where the server keeps that much, and where one is.

import { duration } from "./page.js";

/** Seconds that must be there: less is no place to go back in. */
const LEAST = 10;
/** This close to the live edge is live, seconds: less than a step of the slider, which a key goes at a time. */
export const LIVE = 3;

export class Timeline {
  /** `seek(behind)` is told how many seconds behind the live edge the viewer wants to be, 0 for live. */
  constructor(slider, seek) {
    this.slider = slider;
    this.held = false;
    slider.addEventListener("pointerdown", ({ button }) => { this.held = button === 0; });
    for (const event of ["pointerup", "pointercancel", "lostpointercapture"]) {
      slider.addEventListener(event, () => { this.held = false; });
    }
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
    // Nobody lets go of what has gone from under the hand.
    if (this.slider.hidden) this.held = false;
    if (this.slider.hidden || this.held) return;
    const step = Number(this.slider.step);
    const behind = range.end - at;
    this.slider.min = -step * Math.floor(length / step);
    this.slider.value = behind > LIVE ? -behind : 0;
    this.say();
  }

  say() {
    const behind = -this.slider.valueAsNumber;
    this.slider.setAttribute("aria-valuetext", behind > LIVE ? `${duration(behind)} behind live` : "live");
  }
}
