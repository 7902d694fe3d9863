/** The live camera: only the latest frame is ever edited, frames in between are dropped. */
import { EdgekitError } from "./core/errors.js";

/**
 * Call `work` with the video element for one frame after another until `stop` is called.
 *
 * @param {(video: HTMLVideoElement) => Promise<void>} work
 * @param {(error: Error) => void} failed called once if `work` or the camera fails
 * @returns {Promise<{stop: () => void, edited: number, dropped: () => number}>}
 */
export async function latestFrames(work, failed) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new EdgekitError("this browser gives no camera to this page", "open the page over https or on localhost");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, facingMode: "environment" } });
  } catch (error) {
    throw new EdgekitError(`the camera cannot be used (${error.name})`, "allow it in the browser's settings");
  }
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  let running = true;
  let presented = 0;
  const next = () =>
    new Promise((resume) => {
      if (!video.requestVideoFrameCallback) return requestAnimationFrame(resume);
      video.requestVideoFrameCallback((_, facts) => {
        presented = facts.presentedFrames;
        resume();
      });
    });
  const live = {
    edited: 0,
    dropped: () => Math.max(0, presented - live.edited),
    stop() {
      running = false;
      for (const track of stream.getTracks()) track.stop();
    },
  };
  stream.getVideoTracks()[0].onended = () => running && failed(new EdgekitError("the camera ended", "connect it again"));
  (async () => {
    try {
      while (running) {
        await next();
        if (!running) return;
        await work(video);
        live.edited += 1;
      }
    } catch (error) {
      if (running) failed(error);
    }
  })();
  return live;
}
