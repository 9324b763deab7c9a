// Buttons and keys of the player.

import { byId } from "./page.js";

const KEPT = "mediaserver.sound";

function readSound() {
  try { return JSON.parse(localStorage.getItem(KEPT)) ?? {}; } catch { return {}; }
}

function keepSound(video) {
  // Storage may be forbidden (an embedded page, a private window): then the choice lasts as long as the page.
  try { localStorage.setItem(KEPT, JSON.stringify({ volume: video.volume, muted: video.muted })); } catch { /* nothing to do */ }
}

function setIcon(button, icon, label) {
  button.querySelector("use").setAttribute("href", `#i-${icon}`);
  button.setAttribute("aria-label", label);
}

/**
 * Connect the controls to `video`. `seekToLive()` goes to the live edge, `excess()` says how many seconds behind its target
 * it plays, `hold(held)` is told when the viewer pauses and goes on, `past()` says whether it goes on where it was then.
 */
export function wireControls(video, { seekToLive, excess, hold, past }) {
  const player = byId("player");
  const actions = {
    play() {
      // Of what is not on air there is nothing to pause, and the key does no more than the button.
      if (byId("play").offsetParent === null) return undefined;
      const { paused } = video;
      hold(!paused);
      if (!paused) return video.pause();
      if (!past()) seekToLive();
      return video.play().catch(() => {});
    },
    mute() {
      video.muted = !video.muted;
      byId("unmute").hidden = true;
      keepSound(video);
    },
    full() {
      if (document.fullscreenElement) return document.exitFullscreen();
      return (player.requestFullscreen ?? video.webkitEnterFullscreen)?.call(player.requestFullscreen ? player : video);
    },
    pip() {
      if (document.pictureInPictureElement) return document.exitPictureInPicture();
      return video.requestPictureInPicture().catch(() => {});
    },
    "to-live"() {
      hold(false);
      seekToLive();
      return video.play().catch(() => {});
    },
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", () => action());
  byId("unmute").addEventListener("click", () => actions.mute());
  video.addEventListener("click", () => actions.play());
  byId("pip").hidden = !document.pictureInPictureEnabled;
  wireSound(video);
  wireKeys(actions);
  hideWhenIdle(player);
  for (const event of ["play", "pause"]) {
    video.addEventListener(event, () => setIcon(byId("play"), video.paused ? "play" : "pause", video.paused ? "Play (k)" : "Pause (k)"));
  }
  video.addEventListener("timeupdate", () => { byId("to-live").dataset.live = String(!video.paused && !past() && !(excess() > 2)); });
}

function wireSound(video) {
  const { volume = 1, muted = false } = readSound();
  video.volume = volume;
  video.muted = muted;
  const slider = byId("volume");
  function reflect() {
    slider.value = video.muted ? 0 : video.volume;
    byId("mute").setAttribute("aria-pressed", String(video.muted));
    setIcon(byId("mute"), video.muted || video.volume === 0 ? "mute" : "sound", video.muted ? "Unmute (m)" : "Mute (m)");
  }
  slider.addEventListener("input", () => {
    video.volume = Number(slider.value);
    video.muted = video.volume === 0;
    byId("unmute").hidden = true;
    keepSound(video);
  });
  video.addEventListener("volumechange", reflect);
  reflect();
}

function wireKeys(actions) {
  const keys = { k: "play", " ": "play", m: "mute", f: "full", i: "pip", l: "to-live" };
  document.addEventListener("keydown", (event) => {
    const action = keys[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    // A focused control keeps its own keys: space presses it, letters may be typed into it.
    if (event.target.closest("input, button, a, summary, textarea, select") && event.key === " ") return;
    event.preventDefault();
    actions[action]();
  });
}

function hideWhenIdle(player) {
  let timer = 0;
  const stir = () => {
    player.classList.remove("idle");
    clearTimeout(timer);
    timer = setTimeout(() => player.classList.add("idle"), 2600);
  };
  for (const event of ["pointermove", "pointerdown", "keydown", "focusin"]) player.addEventListener(event, stir);
  player.addEventListener("pointerleave", () => player.classList.add("idle"));
  stir();
}
