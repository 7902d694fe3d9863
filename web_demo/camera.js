/** The live camera: only the latest frame is ever edited, frames in between are dropped. */
import { EdgekitError } from "./core/errors.js";

/**
 * Call `work` with the video element for one frame after another until `stop` is called.
 *
 * @param {(video: HTMLVideoElement) => Promise<void>} work
 * @returns {Promise<{stop: () => void}>}
 */
export async function latestFrames(work) {
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
  const next = () =>
    new Promise((resume) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(resume) : requestAnimationFrame(resume)));
  (async () => {
    while (running) {
      await next();
      if (running) await work(video);
    }
  })();
  return {
    stop() {
      running = false;
      for (const track of stream.getTracks()) track.stop();
    },
  };
}
