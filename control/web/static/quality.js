// How well it plays, as the viewer sees it: how long the start took, and how long the picture stood still. Pure: times
// in milliseconds and positions in seconds go in, figures in seconds come out.

/** A picture that stands still for less than this is not noticed; and one that does for longer than that has no viewer. Seconds. */
const LEAST = 0.5;
const MOST = 60;

export class Quality {
  #startup = null;
  #played = 0;
  #stalled = 0;
  /** since when a first picture is waited for, null while none is */
  #began = null;
  #seen = false;
  #forgiven = false;
  #gap = 0;
  #at = 0;
  #position = 0;

  /** Whether there was a picture. */
  get seen() { return this.#seen; }

  /** A player is started. The time until the first picture counts, however many tries that takes. */
  begin(now) {
    if (!this.#seen) this.#began ??= now;
  }

  /** The viewer has asked for something that takes time, or there is nothing to see: until it moves again nothing is amiss. */
  forgive() {
    this.#settle();
    this.#began = null;
    this.#forgiven = true;
  }

  /** Called a few times a second: where the picture is, and whether there is one. */
  look(now, position, ready) {
    const seconds = (now - this.#at) / 1000;
    const moved = position - this.#position;
    [this.#at, this.#position] = [now, position];
    if (ready && moved !== 0) {
      if (this.#began !== null) this.#startup = (now - this.#began) / 1000;
      this.#began = null;
      this.#played += Math.max(0, Math.min(seconds, moved));
      this.#settle();
      this.#forgiven = false;
      this.#seen = true;
    } else if (this.#seen && !this.#forgiven) {
      // A machine that slept asks late.
      this.#gap = Math.min(MOST, this.#gap + Math.min(seconds, 2));
    }
  }

  /** What there is to tell; null before there was anything to see. `startup` is null where nobody waited for it. */
  figures() {
    if (!this.#seen) return null;
    const gap = this.#gap >= LEAST ? this.#gap : 0;
    const rounded = (seconds) => Math.round(seconds * 1000) / 1000;
    return {
      startup: this.#startup === null ? null : rounded(this.#startup),
      played: rounded(this.#played),
      stalled: rounded(this.#stalled + gap),
    };
  }

  #settle() {
    if (this.#gap >= LEAST) {
      this.#stalled += this.#gap;
    }
    this.#gap = 0;
  }
}
