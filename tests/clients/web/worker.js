// Fetches files from the homeserver with the user's token, which neither pictures nor the client's own requests carry.
const MEDIA = /^\/_matrix\/(?:media\/(?:r0|v3)|client\/v1\/media)\/(download|thumbnail)\//;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
    if (event.request.method === "GET" && MEDIA.test(new URL(event.request.url).pathname)) {
        event.respondWith(withToken(event));
    }
});

/** The page that asks knows who is logged in, and where. */
function session(page) {
    return new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = ({ data }) => resolve(data);
        page.postMessage("session", [port2]);
    });
}

async function withToken({ request, clientId }) {
    const url = new URL(request.url);
    const page = await self.clients.get(clientId);
    const known = page && (await session(page));
    // A token goes to nobody but its own homeserver.
    if (!known?.token || url.origin !== new URL(known.homeserver).origin) return fetch(request);
    url.pathname = url.pathname.replace(MEDIA, "/_matrix/client/v1/media/$1/");
    return fetch(url, { headers: { authorization: `Bearer ${known.token}` } });
}
