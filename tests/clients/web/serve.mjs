// Serves the built web client on loopback: `node serve.mjs FOLDER PORT HOMESERVER`.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

const [folder, port, homeserver] = process.argv.slice(2);
const root = path.resolve(folder);
const config = JSON.stringify({ default_server_config: { "m.homeserver": { base_url: homeserver } } });
const types = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
};

const server = http.createServer(async (request, response) => {
    const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    if (name === "/config.json") {
        response.writeHead(200, { "content-type": "application/json" }).end(config);
        return;
    }
    const file = path.join(root, name === "/" ? "index.html" : name);
    const found = file.startsWith(root + path.sep) && (await stat(file).catch(() => null));
    if (!found || !found.isFile()) {
        response.writeHead(404, { "content-type": "text/plain" }).end("there is nothing here");
        return;
    }
    const type = types[path.extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": found.size });
    createReadStream(file).pipe(response);
});
server.listen(Number(port), "127.0.0.1", () => console.log("serving"));
