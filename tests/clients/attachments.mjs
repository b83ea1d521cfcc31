// Encrypted attachments (Matrix specification, "Sending encrypted attachments"): AES-256-CTR, streamed both ways, so
// that a file of any size fits.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, statSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

const unpadded = (bytes) => bytes.toString("base64").replace(/=+$/, "");
const transport = (url) => (url.protocol === "https:" ? https : http);

/** Passes bytes on and counts and hashes them on the way. */
function measured() {
    const hash = createHash("sha256");
    let size = 0;
    const stream = new Transform({
        transform(chunk, _encoding, done) {
            hash.update(chunk);
            size += chunk.length;
            done(null, chunk);
        },
    });
    return { stream, sums: () => ({ size, digest: hash.digest() }) };
}

/** Bytes that look random and are the same for the same seed. */
function* generated(size, seed) {
    const cipher = createCipheriv("aes-256-ctr", createHash("sha256").update(seed).digest(), Buffer.alloc(16));
    const zeros = Buffer.alloc(64 * 1024);
    for (let left = size; left > 0; left -= zeros.length) yield cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
}

function source({ path, data_base64, generate, seed }) {
    if (path !== undefined) return { size: statSync(path).size, stream: createReadStream(path) };
    if (data_base64 !== undefined) {
        const bytes = Buffer.from(data_base64, "base64");
        return { size: bytes.length, stream: Readable.from([bytes]) };
    }
    return { size: generate, stream: Readable.from(generated(generate, seed ?? "")) };
}

/** Encrypts and uploads; gives the `EncryptedFile` and what the plain file is. */
export async function upload(homeserver, token, options) {
    const { size, stream } = source(options);
    const key = randomBytes(32);
    const iv = Buffer.concat([randomBytes(8), Buffer.alloc(8)]);
    const plain = measured();
    const cipher = measured();
    const url = new URL("/_matrix/media/v3/upload", homeserver);
    const request = transport(url).request(url, {
        method: "POST",
        headers: {
            authorization: `Bearer ${token}`,
            "content-type": "application/octet-stream",
            "content-length": size, // CTR changes no length
        },
    });
    const answer = new Promise((resolve, reject) => {
        request.on("error", reject);
        request.on("response", (response) => {
            let text = "";
            response.setEncoding("utf8");
            response.on("data", (part) => (text += part));
            response.on("end", () =>
                response.statusCode === 200
                    ? resolve(JSON.parse(text))
                    : reject(new Error(`upload: ${response.statusCode} ${text}`)),
            );
        });
    });
    const [{ content_uri }] = await Promise.all([
        answer,
        pipeline(stream, plain.stream, createCipheriv("aes-256-ctr", key, iv), cipher.stream, request),
    ]);
    const { digest } = plain.sums();
    return {
        file: {
            v: "v2",
            url: content_uri,
            key: {
                kty: "oct",
                alg: "A256CTR",
                ext: true,
                key_ops: ["encrypt", "decrypt"],
                k: key.toString("base64url"),
            },
            iv: unpadded(iv),
            hashes: { sha256: unpadded(cipher.sums().digest) },
        },
        size,
        sha256: digest.toString("hex"),
    };
}

/** Downloads, checks the hash and decrypts; gives size and hash of the plain file, which goes to `path` if one is named. */
export async function download(homeserver, token, { file, path }) {
    const [server, id] = file.url.replace("mxc://", "").split("/");
    const url = new URL(`/_matrix/client/v1/media/download/${server}/${id}`, homeserver);
    const response = await new Promise((resolve, reject) =>
        transport(url).get(url, { headers: { authorization: `Bearer ${token}` } }, resolve).on("error", reject),
    );
    if (response.statusCode !== 200) throw new Error(`download of ${file.url}: ${response.statusCode}`);
    const cipher = measured();
    const plain = measured();
    const key = Buffer.from(file.key.k, "base64url");
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    await pipeline(
        response,
        cipher.stream,
        createDecipheriv("aes-256-ctr", key, Buffer.from(file.iv, "base64")),
        plain.stream,
        path ? createWriteStream(path) : nowhere,
    );
    const found = unpadded(cipher.sums().digest);
    if (found !== file.hashes.sha256.replace(/=+$/, "")) throw new Error(`the hash of ${file.url} is wrong`);
    const { size, digest } = plain.sums();
    return { size, sha256: digest.toString("hex") };
}
