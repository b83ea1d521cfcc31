// A real encrypting Matrix client (matrix-js-sdk, Rust crypto in WebAssembly), driven by JSON lines.
//
// stdin:  {"id":1,"op":"send","room_id":"!a","body":"hi"}
// stdout: {"id":1,"ok":{...}} or {"id":1,"error":"..."}; and {"changed":true} whenever what a room shows may
//         have changed, so that the driver looks again instead of sleeping.
//
// Packages come from the folder that GATEHOUSE_CLIENTS names, so the checkout holds no node_modules.
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";
import { download, upload } from "./attachments.mjs";

// The library asks for Node 22 but lacks only this on 20.
Promise.withResolvers ??= function () {
    let resolve, reject;
    const promise = new this((yes, no) => ([resolve, reject] = [yes, no]));
    return { promise, resolve, reject };
};

// Standard output carries the protocol alone.
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
    console[level] = (...args) => process.stderr.write(`${level} ${args.map(String).join(" ")}\n`);
}

const packages = createRequire(path.join(process.env.GATEHOUSE_CLIENTS, "package.json"));
const load = (name) => import(pathToFileURL(packages.resolve(name)));
const sdk = await load("matrix-js-sdk");
const { EventShieldColour, EventShieldReason, OnlySignedDevicesIsolationMode } = await load(
    "matrix-js-sdk/lib/crypto-api/index.js",
);
const { logger } = await load("matrix-js-sdk/lib/logger.js");
logger.setLevel?.(process.env.GATEHOUSE_CLIENT_LOG ?? "error");

const nameOf = (table, value) =>
    value === null || value === undefined ? null : Object.keys(table).find((key) => table[key] === value) ?? String(value);

/** @type {sdk.MatrixClient} */
let client;
let authenticate; // confirms a request with the user's password, where the homeserver wants that
const sendQueues = new Map(); // room id -> promise of the last send, so that a room's order is the caller's
const timelines = new Map(); // room id -> events in the server's order, each once
const known = new Set(); // event ids in `timelines`

const hopes = []; // who waits for a change in this process
let announced = false;
function changed() {
    if (announced) return;
    announced = true;
    setTimeout(() => {
        announced = false;
        reply({ changed: true });
        for (const hope of hopes.splice(0)) hope();
    }, 20);
}

const reply = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

function record(event, room, toStartOfTimeline) {
    if (!room || event.status || known.has(event.getId())) return;
    known.add(event.getId());
    const list = timelines.get(room.roomId) ?? [];
    if (toStartOfTimeline) list.unshift(event);
    else list.push(event);
    timelines.set(room.roomId, list);
    changed();
}

async function describe(event) {
    const encrypted = event.isEncrypted();
    const info = encrypted ? await client.getCrypto().getEncryptionInfoForEvent(event) : null;
    const original = event.getOriginalContent();
    return {
        event_id: event.getId(),
        sender: event.getSender(),
        type: event.getType(),
        state_key: event.getStateKey() ?? null,
        ts: event.getTs(),
        content: event.getContent(), // of the last edit, if there is one
        original,
        relation: original["m.relates_to"] ?? event.getWireContent()["m.relates_to"] ?? null,
        redacts: event.getType() === "m.room.redaction" ? event.getContent().redacts ?? event.event.redacts ?? null : null,
        edited: event.replacingEventId() ?? null,
        encrypted,
        decrypted: encrypted && !event.isBeingDecrypted() && !event.isDecryptionFailure() && event.getClearContent() !== null,
        pending: event.isBeingDecrypted(),
        failure: event.decryptionFailureReason,
        shield: info ? nameOf(EventShieldColour, info.shieldColour) : null,
        shield_reason: info ? nameOf(EventShieldReason, info.shieldReason) : null,
        redacted: event.isRedacted(),
        redacted_by: event.getUnsigned().redacted_because?.sender ?? null,
    };
}

function room(id) {
    const found = client.getRoom(id);
    if (!found) throw new Error(`this client knows no room ${id}`);
    return found;
}

/** Resolves when `is` gives something; asked again whenever anything has changed. */
async function until(is) {
    for (;;) {
        const value = await is();
        if (value) return value;
        await new Promise((resolve) => hopes.push(resolve));
    }
}

/** Resolves when `is` gives something; asked again and again, for what nothing tells of. */
async function poll(is) {
    while (!(await is())) await new Promise((resolve) => setTimeout(resolve, 300));
}

/**
 * Waits until the homeserver's word of our own join is here, and with it the room's state: before that the library
 * does not know that a room is encrypted, and would send in the clear.
 */
async function joined(roomId) {
    await until(() =>
        (timelines.get(roomId) ?? []).some(
            (event) =>
                event.getType() === "m.room.member" &&
                event.getStateKey() === client.getUserId() &&
                event.getContent().membership === "join",
        ),
    );
    if (!room(roomId).hasEncryptionStateEvent()) return;
    await until(() => client.getCrypto().isEncryptionEnabledInRoom(roomId));
}

/** Sends one after another per room: the library alone would let two sends overtake each other. */
function inOrder(roomId, work) {
    const next = (sendQueues.get(roomId) ?? Promise.resolve()).catch(() => {}).then(work);
    sendQueues.set(roomId, next);
    return next;
}

let stubborn = false; // whether to send again, under the same transaction id, what an outage has kept from being sent

async function untilSent(send) {
    for (;;) {
        try {
            return await send();
        } catch (error) {
            if (!stubborn) throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 1000));
    }
}

async function putEncrypted(roomId, type, content, txn) {
    const event = new sdk.MatrixEvent({ type, content, room_id: roomId, sender: client.getUserId() });
    await client.getCrypto().encryptEvent(event, room(roomId));
    return put(roomId, event.getWireType(), event.getWireContent(), txn);
}

const send = (roomId, type, content, txn = client.makeTxnId()) =>
    inOrder(roomId, () => {
        if (!stubborn) return client.sendEvent(roomId, null, type, content, txn);
        // Past the library's own queue, which gives up after a while and then holds back all that comes after.
        return untilSent(() => (type === "m.reaction" ? put : putEncrypted)(roomId, type, content, txn));
    });

const redact = (roomId, eventId, txn = client.makeTxnId()) =>
    inOrder(roomId, () => {
        const where = [roomId, "redact", eventId, txn].map(encodeURIComponent).join("/");
        const path = `/_matrix/client/v3/rooms/${where}`;
        return untilSent(() => client.http.authedRequest("PUT", path, undefined, {}, { prefix: "" }));
    });

let puts = 0;
function put(roomId, type, content, txn) {
    const where = [roomId, "send", type, txn ?? `put-${Date.now()}-${puts++}`].map(encodeURIComponent).join("/");
    return client.http.authedRequest("PUT", `/_matrix/client/v3/rooms/${where}`, undefined, content, { prefix: "" });
}

const absent = (error) => {
    if (error?.errcode === "M_NOT_FOUND") return null;
    throw error;
};

/**
 * Room keys on their way to other devices: `null` lets them through, a list keeps them, as a network or a homeserver does
 * that loses to-device messages or brings them late.
 */
let heldKeys = null;
/** Whether later keys go through although earlier ones are kept. */
let laterKeysPass = false;

/** Puts the gate for room keys into the way of the library's requests. */
function gateKeys(http) {
    const request = http.authedRequest.bind(http);
    http.authedRequest = (method, path, ...rest) => {
        if (heldKeys !== null && !laterKeysPass && String(path).includes("/sendToDevice/m.room.encrypted/")) {
            heldKeys.push(() => request(method, path, ...rest));
            // The library shall think that they are out. It takes JSON as text where it asks for it.
            const raw = rest.some((part) => part && typeof part === "object" && part.json === false);
            return Promise.resolve(raw ? "{}" : {});
        }
        return request(method, path, ...rest);
    };
}

const ops = {
    async login({ homeserver, user, password, device_name, exclude_insecure, cross_sign }) {
        const guest = sdk.createClient({ baseUrl: homeserver });
        const session = await guest.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user },
            password,
            initial_device_display_name: device_name ?? "test client",
        });
        client = sdk.createClient({
            baseUrl: homeserver,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
        });
        gateKeys(client.http);
        await client.initRustCrypto({ useIndexedDB: false });
        const crypto = client.getCrypto();
        authenticate = (upload) =>
            upload({ type: "m.login.password", identifier: { type: "m.id.user", user }, password });
        if (cross_sign) await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: authenticate });
        if (exclude_insecure) crypto.setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());

        client.on(sdk.RoomEvent.Timeline, (event, where, toStart) => record(event, where, toStart));
        client.on(sdk.RoomEvent.Receipt, changed);
        client.on(sdk.RoomEvent.MyMembership, changed);
        client.on(sdk.RoomMemberEvent.Membership, changed);
        client.on(sdk.RoomMemberEvent.Typing, changed);
        client.on(sdk.RoomStateEvent.Events, changed);
        client.on(sdk.MatrixEventEvent.Decrypted, changed);
        client.on(sdk.RoomEvent.Redaction, changed);

        const filter = new sdk.Filter(session.user_id);
        filter.setTimelineLimit(2000); // no gap in a test's timeline
        const { promise, resolve, reject } = Promise.withResolvers();
        client.on(sdk.ClientEvent.Sync, (state, _previous, data) => {
            if (state === "PREPARED") resolve();
            if (state === "ERROR" && !client.isInitialSyncComplete()) reject(data?.error ?? new Error("sync failed"));
        });
        await client.startClient({ filter, pendingEventOrdering: sdk.PendingEventOrdering.Detached });
        await promise;
        // Only now can anybody write to this device.
        const { user_id, device_id } = session;
        const uploaded = async () => (await client.downloadKeysForUsers([user_id])).device_keys[user_id]?.[device_id];
        while (!(await uploaded())) await new Promise((done) => setTimeout(done, 20));
        return { user_id, device_id };
    },

    async create_room({ invite, encrypted, is_direct, name, room_version, preset }) {
        const state = encrypted
            ? [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }]
            : [];
        const created = await client.createRoom({
            invite,
            name,
            is_direct: is_direct ?? false,
            preset: preset ?? (is_direct ? "trusted_private_chat" : "private_chat"),
            room_version,
            initial_state: state,
        });
        await joined(created.room_id);
        return created;
    },

    async join({ room_id }) {
        await client.joinRoom(room_id);
        await joined(room_id);
        return {};
    },

    async leave({ room_id }) {
        await client.leave(room_id);
        return {};
    },

    async invite({ room_id, user_id }) {
        await client.invite(room_id, user_id);
        return {};
    },

    async rooms() {
        return Promise.all(
            client.getRooms().map(async (each) => ({
                room_id: each.roomId,
                name: each.name,
                membership: each.getMyMembership(),
                encrypted: each.hasEncryptionStateEvent(),
                inviter: each.getMember(client.getUserId())?.events.member?.getSender() ?? null,
                is_direct: each.getMember(client.getUserId())?.events.member?.getContent().is_direct ?? false,
                members: Object.fromEntries(each.getMembers().map((member) => [member.userId, member.membership])),
            })),
        );
    },

    async send({ room_id, body, formatted_body, msgtype, reply_to, txn_id }) {
        const content = { msgtype: msgtype ?? "m.text", body };
        if (formatted_body) Object.assign(content, { format: "org.matrix.custom.html", formatted_body });
        if (reply_to) content["m.relates_to"] = { "m.in_reply_to": { event_id: reply_to } };
        return send(room_id, "m.room.message", content, txn_id);
    },

    send_event: ({ room_id, type, content, txn_id }) => send(room_id, type, content, txn_id),

    /** In the clear, whatever the room says. */
    send_plain: ({ room_id, type, content, txn_id }) =>
        inOrder(room_id, () => put(room_id, type, content, txn_id)),

    /** Encrypted, also what the library would send in the clear (reactions). */
    send_encrypted: ({ room_id, type, content, txn_id }) =>
        inOrder(room_id, () => putEncrypted(room_id, type, content, txn_id)),

    upload: (options) => upload(client.baseUrl, client.getAccessToken(), options),

    download: (options) => download(client.baseUrl, client.getAccessToken(), options),

    async state({ room_id, type, state_key }) {
        return { content: await client.getStateEvent(room_id, type, state_key ?? "").catch(absent) };
    },

    /** Keeps the room keys that this client sends from now on. */
    async hold_keys() {
        heldKeys ??= [];
        laterKeysPass = false;
        return {};
    },

    /** Lets room keys through from now on; the kept ones stay kept. */
    async pass_later_keys() {
        laterKeysPass = true;
        return {};
    },

    /** Lets the kept room keys go, and all later ones through; says how many were kept. */
    async release_keys() {
        const held = heldKeys ?? [];
        heldKeys = null;
        laterKeysPass = false;
        for (const send of held) await send();
        return { released: held.length };
    },

    /** Signs another device of the same user, as after a verification. */
    async sign_device({ device_id }) {
        const crypto = client.getCrypto();
        // Until the homeserver has told of it.
        await poll(async () => {
            const devices = await crypto.getUserDeviceInfo([client.getUserId()], true);
            return devices.get(client.getUserId())?.has(device_id);
        });
        await crypto.crossSignDevice(device_id);
        return {};
    },

    /** Throws the user's cross-signing keys away and makes new ones. */
    async reset_cross_signing() {
        const crypto = client.getCrypto();
        await crypto.bootstrapCrossSigning({ setupNewCrossSigning: true, authUploadDeviceSigningKeys: authenticate });
        return {};
    },

    /** Ends the session: the device is gone. */
    async logout() {
        client.stopClient();
        await client.logout(false);
        return {};
    },

    async discard_session({ room_id }) {
        await client.getCrypto().forceDiscardSession(room_id);
        return {};
    },

    redact: ({ room_id, event_id, txn_id }) => redact(room_id, event_id, txn_id),

    async stubborn({ on }) {
        stubborn = on;
        return {};
    },

    async timeline({ room_id, from }) {
        const events = (timelines.get(room_id) ?? []).slice(from ?? 0);
        return { events: await Promise.all(events.map(describe)) };
    },

    async receipts({ room_id }) {
        const where = room(room_id);
        const read = {};
        for (const member of where.getMembers()) {
            const id = where.getEventReadUpTo(member.userId, true);
            if (id) read[member.userId] = id;
        }
        return { read };
    },

    async read({ room_id, event_id, is_private }) {
        const event = (timelines.get(room_id) ?? []).find((each) => each.getId() === event_id);
        if (!event) throw new Error(`no event ${event_id} in ${room_id}`);
        await client.sendReadReceipt(event, is_private ? "m.read.private" : "m.read");
        return {};
    },

    async typing({ room_id, typing }) {
        await client.sendTyping(room_id, typing, 20_000);
        return {};
    },

    async who_types({ room_id }) {
        return { user_ids: room(room_id).getMembers().filter((member) => member.typing).map((member) => member.userId) };
    },

    /** A raw client-server request, for what has no call of its own (third-party look-ups, state). */
    async request({ method, path: where, query, body }) {
        return client.http.authedRequest(method, where, query, body, { prefix: "" });
    },

    async stop() {
        client?.stopClient();
        setTimeout(() => process.exit(0), 50);
        return {};
    },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", async (line) => {
    const { id, op, ...args } = JSON.parse(line);
    try {
        if (!ops[op]) throw new Error(`unknown op ${op}`);
        reply({ id, ok: await ops[op](args) });
    } catch (error) {
        reply({ id, error: error?.stack ?? String(error) });
    }
});
// The harness is gone: nothing is left to serve.
lines.on("close", () => process.exit(0));
process.on("unhandledRejection", (error) => process.stderr.write(`unhandled: ${error?.stack ?? error}\n`));
reply({ ready: true });
