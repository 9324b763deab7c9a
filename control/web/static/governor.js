// How fast to play so that the picture stays as close to live as the stream allows. Pure: figures in, figures out.

export const MAX_RATE = 1.5;
/** Later than this over the target, seconds: jump instead of hurrying. */
export const JUMP = 6;

/**
 * The playback rate for now. All times in seconds.
 *
 * hls.js speeds up only with more than a second in the buffer, which a stream half a second behind live never has; so
 * this takes its place. It starts at 0.12 s over the target and stops at 0.03 s (between, it goes on doing what it
 * does), and never hurries into an empty buffer.
 */
export function playbackRate({ latency, target, buffered, rate }) {
  const over = latency - target;
  if (!Number.isFinite(over) || over < (rate > 1 ? 0.03 : 0.12) || buffered < 0.25) return 1;
  const spare = Math.min(over, buffered - 0.2);
  return Math.min(MAX_RATE, 1 + Math.max(0.05, Math.round(spare * 0.6 * 20) / 20));
}
