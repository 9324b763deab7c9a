// How many pictures a second there are. Pure: positions and counts go in, a figure comes out.

/** Seconds of the stream that are looked at, and the least that tells anything. */
const WINDOW = 10;
const LEAST = 3;

/**
 * Pictures a second by the stream's own time: who hurries to keep close to live sees more of them in a second of his, and the
 * stream has no more for that.
 */
export class FrameRate {
  #seen = [];

  /** Look at `now` (ms): up to the position `time` (s) there were `frames` pictures. NaN while it is too early to tell. */
  look(now, time, frames) {
    const last = this.#seen.at(-1);
    // A seek moves the position and shows nothing of what lies between.
    const jumped = last && (frames < last.frames || time < last.time || time - last.time > ((now - last.now) / 1000) * 1.6 + 0.5);
    if (jumped) this.#seen = [];
    this.#seen.push({ now, time, frames });
    while (time - this.#seen[1]?.time >= WINDOW) this.#seen.shift();
    const [first] = this.#seen;
    return time - first.time >= LEAST ? (frames - first.frames) / (time - first.time) : NaN;
  }
}
