// How many pictures a second there are. Pure: positions and counts go in, a figure comes out.

/** Seconds of the stream that are looked at, and the least that tells anything. */
const WINDOW = 10;
const LEAST = 5;
/** Milliseconds at the start, and after a seek, in which a decoder gets ahead of what is shown. */
const SETTLING = 1500;

/**
 * Pictures a second by the stream's own time: who hurries to keep close to live sees more of them in a second of his, and the
 * stream has no more for that.
 */
export class FrameRate {
  #seen = [];
  #last = { now: 0, time: 0, frames: 0 };
  #settled = -Infinity;
  #figure = NaN;

  /** Look at `now` (ms): up to the position `time` (s) there were `frames` pictures. NaN while it is too early to tell. */
  look(now, time, frames) {
    const last = this.#last;
    this.#last = { now, time, frames };
    // A seek moves the position and shows nothing of what lies between.
    if (frames < last.frames || time < last.time || time - last.time > ((now - last.now) / 1000) * 1.6 + 0.5 || !last.frames) {
      this.#seen = [];
      this.#figure = NaN;
      this.#settled = now + SETTLING;
    }
    if (now < this.#settled) return NaN;
    // Who pauses sees nothing more, however long that takes.
    if (time === last.time) return this.#figure;
    this.#seen.push({ time, frames });
    while (time - this.#seen[1]?.time >= WINDOW) this.#seen.shift();
    const [first] = this.#seen;
    this.#figure = time - first.time >= LEAST ? (frames - first.frames) / (time - first.time) : NaN;
    return this.#figure;
  }
}
