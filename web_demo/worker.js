/**
 * The worker that models run in, so that the page stays free to draw. A classic worker: LiteRT.js loads
 * its wasm by importScripts, which module workers do not have.
 */
const early = [];
self.onmessage = (event) => early.push(event);
import("./core/service.js").then(
  ({ serve }) => {
    serve(self);
    for (const event of early) self.onmessage(event);
  },
  (error) => self.postMessage({ id: null, error: { what: `the page's files are not complete: ${error.message}`, hint: "reload the page" } }),
);
