// A stock WhatsApp client (npm baileys, `makeWASocket`), driven by JSON lines. It is told another address and another
// root key than WhatsApp's, and finds its credentials in a folder; all else is as the package has it.
//
// stdin:  {"id":1,"op":"send","to":"999…@s.whatsapp.net","content":{"text":"hi"}}
// stdout: {"id":1,"ok":{...}} or {"id":1,"error":"..."}; and {"changed":true} whenever something has come in.
//
// Bytes are {"base64":"…"} or {"generated":size,"seed":"…"}. Packages come from the folder that STOCK_PACKAGES names.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

// Standard output carries the protocol alone.
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[level] = (...args) => process.stderr.write(`${level} ${args.map(String).join(" ")}\n`);
}

const folder = process.env.STOCK_PACKAGES;
const packages = createRequire(path.join(folder, "package.json"));
const load = (name) => import(pathToFileURL(path.join(folder, "node_modules", name)));
const baileys = await load("baileys/lib/index.js");
const { WA_CERT_DETAILS } = await load("baileys/lib/Defaults/index.js");
const { proto } = await load("baileys/WAProto/index.js");
const { Boom } = packages("@hapi/boom");

const told = process.env.STOCK_LOG ?? "warn";
const show = (level) => (...args) => process.stderr.write(`${level} ${args.map(text).join(" ")}\n`);
const text = (value) =>
    typeof value === "string" ? value : JSON.stringify(value, (_, each) => (each instanceof Error ? each.stack : each));
const silent = () => {};
const logger = { level: told, child: () => logger, trace: silent, debug: silent, info: silent, warn: silent, error: show("error") };
if (told !== "error") logger.warn = show("warn");
if (told === "debug") Object.assign(logger, { info: show("info"), debug: show("debug") });

let options;
let sock;
let keys;
let save;
let stopped = false;
let opened = 0; // how often a connection was opened
let ended = null; // status of the last end
const messages = new Map(); // id -> what is known of it, in order of arrival
const events = []; // everything else that came in

const changed = () => process.stdout.write('{"changed":true}\n');

function known(id) {
    if (!messages.has(id)) messages.set(id, { id, statuses: [], updates: [], reactions: [], arrivals: 0 });
    return messages.get(id);
}

const plain = (message) => (message ? proto.Message.fromObject(message).toJSON() : null);

function take(message, type) {
    const entry = known(message.key.id);
    entry.arrivals += 1;
    entry.key = message.key;
    entry.type = type;
    entry.push_name = message.pushName ?? null;
    entry.raw = message;
    entry.message = plain(message.message);
    // What came in at the same moment is in it already.
    if (typeof message.status === "number") entry.statuses.push(message.status);
    entry.stub = message.messageStubType ?? null;
    entry.stub_parameters = message.messageStubParameters ?? null;
}

async function open() {
    const { state, saveCreds } = await baileys.useMultiFileAuthState(options.folder);
    keys = state.keys;
    save = saveCreds;
    WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(options.root, "hex");
    sock = baileys.makeWASocket({
        waWebSocketUrl: options.chat,
        auth: state,
        logger,
        getMessage: async (key) => messages.get(key.id)?.sent,
        ...(options.config ?? {}),
    });
    const mine = sock;
    sock.ev.on("creds.update", saveCreds);
    sock.ev.on("connection.update", (update) => {
        if (update.connection === "open") opened += 1;
        if (update.connection === "close") {
            ended = update.lastDisconnect?.error?.output?.statusCode ?? 0;
            const final = [baileys.DisconnectReason.loggedOut, baileys.DisconnectReason.connectionReplaced];
            // As every user of the package does it: come back, unless one is no device any more.
            if (!stopped && mine === sock && !final.includes(ended)) setTimeout(() => open().catch(console.error), 200);
        }
        changed();
    });
    sock.ev.on("messages.upsert", ({ messages: arrived, type }) => {
        for (const message of arrived) take(message, type);
        changed();
    });
    sock.ev.on("messages.update", (updates) => {
        for (const { key, update } of updates) {
            const entry = known(key.id);
            if (update.status !== undefined) entry.statuses.push(update.status);
            if ("message" in update || update.messageStubType) {
                entry.updates.push({ message: plain(update.message), stub: update.messageStubType ?? null });
                if (update.message && !update.message.editedMessage) entry.message = plain(update.message);
            }
        }
        changed();
    });
    sock.ev.on("messages.reaction", (reactions) => {
        for (const { key, reaction } of reactions) known(key.id).reactions.push({ text: reaction.text ?? "", key: reaction.key });
        changed();
    });
    for (const name of ["presence.update", "contacts.update", "blocklist.set", "blocklist.update", "lid-mapping.update"]) {
        sock.ev.on(name, (data) => (events.push({ name, data }), changed()));
    }
}

/** Waits for a look at the state to give something. */
async function until(look) {
    for (;;) {
        const found = look();
        if (found !== undefined) return found;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

function generated(size, seed) {
    const out = Buffer.alloc(size);
    let block = createHash("sha256").update(seed).digest();
    for (let at = 0; at < size; at += block.length) {
        block.copy(out, at);
        block = createHash("sha256").update(block).digest();
    }
    return out;
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function revive(value) {
    if (Array.isArray(value)) return value.map(revive);
    if (value === null || typeof value !== "object") return value;
    if (typeof value.base64 === "string") return Buffer.from(value.base64, "base64");
    if (typeof value.generated === "number") return generated(value.generated, value.seed);
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revive(each)]));
}

const shown = ({ raw, sent, ...entry }) => entry;

const ops = {
    /** Logs in and stays logged in. */
    async connect({ folder, chat, root, config }) {
        options = { folder, chat, root, config };
        stopped = false;
        const before = opened;
        await open();
        return until(() => (opened > before ? { me: sock.user } : undefined));
    },

    /** Logs in once, to be refused: how it ended. */
    async knock({ folder, chat, root }) {
        options = { folder, chat, root };
        stopped = true;
        ended = null;
        await open();
        return { ended: await until(() => ended ?? undefined) };
    },

    state: () => ({ opened, ended, open: sock?.ws.isOpen ?? false }),

    /** Loses the connection; the client comes back by itself. */
    async drop() {
        const before = opened;
        void sock.end(new Boom("lost on purpose", { statusCode: 408 }));
        await until(() => (opened > before ? true : undefined));
        return { opened };
    },

    /** Goes away and stays away. */
    async leave() {
        stopped = true;
        await sock.end(undefined);
        await save();
        return {};
    },

    async send({ to, content, quoted }) {
        const about = quoted ? { quoted: messages.get(quoted).raw } : {};
        const message = await sock.sendMessage(to, revive(content), about);
        Object.assign(known(message.key.id), { key: message.key, sent: message.message, raw: message });
        return { id: message.key.id, message: plain(message.message) };
    },

    /** Reacts to, edits or takes back a message. */
    async about({ to, message: id, what, text }) {
        const { key } = messages.get(id);
        const content = { react: { react: { key, text } }, edit: { edit: key, text }, delete: { delete: key } }[what];
        const message = await sock.sendMessage(to, content);
        Object.assign(known(message.key.id), { key: message.key, sent: message.message });
        return { id: message.key.id };
    },

    read: async ({ ids }) => (await sock.readMessages(ids.map((id) => messages.get(id).key)), {}),
    receipt: async ({ to, ids, type }) => (await sock.sendReceipt(to, undefined, ids, type), {}),
    presence: async ({ type, to }) => (await sock.sendPresenceUpdate(type, to), {}),

    messages: () => ({ messages: [...messages.values()].map(shown) }),
    message: ({ message: id }) => (messages.has(id) ? shown(messages.get(id)) : null),
    events: () => ({ events }),

    async download({ message: id }) {
        const bytes = await baileys.downloadMediaMessage(messages.get(id).raw, "buffer", { host: sock.getMediaHost() });
        return { size: bytes.length, sha256: sha256(bytes) };
    },

    /** The file that `{"generated":…}` stands for. */
    generated: ({ size, seed }) => ({ size, sha256: sha256(generated(size, seed)) }),

    /** Learns where files are, as an upload would. */
    media: async () => (await sock.refreshMediaConn(true), { host: sock.getMediaHost() }),

    /** Forgets every session, as a client does whose storage was damaged. */
    async forget_sessions({ users }) {
        const lost = {};
        for (const user of users) for (const device of ["0"]) lost[`${user}_1.${device}`] = lost[`${user}.${device}`] = null;
        await keys.set({ session: lost });
        return {};
    },

    on_whatsapp: async ({ numbers }) => ({ found: await sock.onWhatsApp(...numbers) }),
    block: async ({ jid, blocked }) => (await sock.updateBlockStatus(jid, blocked ? "block" : "unblock"), {}),
    blocklist: async () => ({ list: await sock.fetchBlocklist() }),
    privacy: async () => sock.fetchPrivacySettings(true),
    set_read_receipts: async ({ value }) => (await sock.updateReadReceiptsPrivacy(value), {}),
    rotate: async () => (await sock.rotateSignedPreKey(), {}),
    digest: async () => (await sock.digestKeyBundle(), {}),
    sync: async () => (await sock.resyncAppState(["regular", "critical_block"], false), {}),
    picture: ({ jid }) => sock.profilePictureUrl(jid).then(() => ({}), (error) => ({ refused: error.data })),
    logout: async () => ((stopped = true), await sock.logout(), {}),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, op, ...rest } = JSON.parse(line);
    Promise.resolve()
        .then(() => ops[op](rest))
        .then(
            (ok) => process.stdout.write(`${JSON.stringify({ id, ok: ok ?? null })}\n`),
            (error) => process.stdout.write(`${JSON.stringify({ id, error: String(error?.stack ?? error) })}\n`),
        );
}
process.exit(0);
