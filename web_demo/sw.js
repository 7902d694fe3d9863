/**
 * Keeps the site for use without a network, and adds the headers that make a page cross-origin isolated
 * on hosts that cannot set them. Answers for this site alone.
 */
const CACHE = "edgekit-SITE_VERSION";
const ISOLATED = {
  // Workers do not inherit the policy of the page's own meta element: they get it from here.
  "Content-Security-Policy": "SITE_POLICY",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const files = await (await fetch("site.json", { cache: "no-store" })).json();
      await (await caches.open(CACHE)).addAll(["./", ...files.shell]);
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== self.location.origin || event.request.method !== "GET") return;
  event.respondWith(answered(event.request));
});

async function answered(request) {
  const cache = await caches.open(CACHE);
  let answer = await cache.match(request, { ignoreSearch: true });
  if (!answer) {
    answer = await fetch(request);
    if (answer.status === 200) await cache.put(request, answer.clone());
  }
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
