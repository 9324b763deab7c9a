// The figures beside the picture, twice a second.

import { bitrate, byId, setText } from "./page.js";
import { FrameRate } from "./rate.js";

const SAMPLES = 120;
const history = [];
const frameRate = new FrameRate();

function drawSpark(latency) {
  history.push(latency);
  if (history.length > SAMPLES) history.shift();
  const known = history.filter(Number.isFinite);
  // From zero, so that a calm line looks calm.
  const top = Math.max(1, ...known) * 1.15;
  const step = 120 / (Math.max(history.length, 20) - 1);
  const points = history.map((value, index) => [index * step, 31 - (value / top) * 30]);
  byId("spark").firstElementChild.setAttribute("points", points.filter(([, y]) => Number.isFinite(y)).map((p) => p.map((n) => n.toFixed(1)).join(",")).join(" "));
}

let shown = 0;

/** Show how it plays: `{ player, video, buffered, steady }`, or null when nothing does. `steady`: the start is over. */
export function showStats(now) {
  const at = performance.now();
  if (at - shown < 480) return;
  shown = at;
  const video = now?.video;
  const quality = video?.getVideoPlaybackQuality?.() ?? { totalVideoFrames: 0, droppedVideoFrames: 0 };
  const latency = now?.player.latency ?? NaN;
  const rate = frameRate.look(at, video?.currentTime ?? 0, quality.totalVideoFrames);
  const figures = {
    latency: Number.isFinite(latency) ? `${Math.max(0, latency).toFixed(2)} s` : "–",
    bitrate: (now && bitrate(now.player.bitrate)) || "–",
    size: video?.videoWidth ? `${video.videoWidth}×${video.videoHeight}` : "–",
    rate: video?.videoWidth && Number.isFinite(rate) ? `${rate.toFixed(0)} fps` : "–",
    dropped: video?.videoWidth ? `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}` : "–",
    buffer: now ? `${now.buffered.toFixed(2)} s` : "–",
    speed: now ? `${video.playbackRate.toFixed(2)}×` : "–",
  };
  for (const [name, text] of Object.entries(figures)) setText(byId(`stat-${name}`), text);
  byId("stat-words").hidden = !Number.isFinite(latency);
  setText(byId("chip"), Number.isFinite(latency) ? `${Math.max(0, latency).toFixed(1)} s behind` : "");
  if (now?.steady) drawSpark(latency);
}
