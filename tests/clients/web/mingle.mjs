// Random use: several Matrix users in web clients and several phones on their pages, all at once, each with everybody. In
// the end the pages of both sides must show the same.
//
// `node mingle.mjs '{"web":…,"users":[…],"password":…,"phones":[{"page":…,"number":…},…],"seconds":…,"seed":…,"folder":…}'`
import assert from "node:assert/strict";
import path from "node:path";

import { acceptInvitation, event, inClient, logIn, onPhone, openChat, say, start, tidy, write } from "./browser.mjs";

const { web, users, password, phones, seconds, seed, folder } = JSON.parse(process.argv[2]);
const problems = [];
const browser = await start(problems);
const begun = Date.now();
const since = () => (Date.now() - begun) / 1000;
/** When people stop, in seconds since the start. */
let end = 0;
const step = (what) => console.log(`${since().toFixed(1).padStart(6)} s  ${what}`);
const attached = [];
const EMOJIS = ["👍", "❤️", "😂", "😮"];
/** How long everything may take to arrive after the last act. */
const SETTLING = 240_000;

/** Dice of one person (mulberry32): who does what is the same for the same seed. */
function dice(start) {
    let state = start >>> 0;
    const roll = () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
    const below = (n) => Math.floor(roll() * n);
    return { roll, below, pick: (list) => list[below(list.length)] };
}

/** Names of people without server and plus sign. */
const short = (name) => name.replace(/^[@+]/, "").split(":")[0];

/** What somebody has written into one chat, and what was written to them; texts are never the same twice. */
const chats = new Map();
const chatOf = (user, phone) => chats.get(`${short(user)} ${short(phone)}`);
for (const user of users) for (const { number } of phones) chats.set(`${short(user)} ${short(number)}`, { written: 0, user: [], phone: [] });

const done = { text: 0, reply: 0, reaction: 0, edit: 0, deletion: 0, file: 0, skipped: 0 };

/** One act of somebody on a page: `hands` knows how it is done there. */
async function act(random, chat, side, hands) {
    const own = chat[side];
    const others = chat[side === "user" ? "phone" : "user"];
    const fresh = (word) => `${word} ${(chat.written += 1)} by ${hands.name}`;
    const recent = (list) => random.pick(list.slice(-5));
    const chance = random.roll();
    if (chance < 0.1 && others.length) {
        const text = fresh("reply");
        await hands.reply(recent(others), text);
        own.push(text);
        done.reply += 1;
    } else if (chance < 0.25 && others.length) {
        await hands.react(recent(others), random.pick(EMOJIS));
        done.reaction += 1;
    } else if (chance < 0.33 && own.length) {
        const text = fresh("edited");
        await hands.edit(own.at(-1), text);
        own[own.length - 1] = text;
        done.edit += 1;
    } else if (chance < 0.39 && own.length > 1) {
        await hands.remove(own.at(-1));
        own.pop();
        done.deletion += 1;
    } else if (chance < 0.44) {
        await hands.file(`${fresh("file").replaceAll(" ", "-")}.txt`);
        done.file += 1;
    } else {
        const text = fresh("text");
        await hands.write(text);
        own.push(text);
        done.text += 1;
    }
}

const note = (name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(`what ${name} holds`) });

/** How a person with a web client does it. */
const inMatrix = (page, user) => ({
    name: short(user),
    write: (text) => write(page, text),
    reply: (to, text) => inClient.reply(page, to, text),
    react: (to, emoji) => inClient.react(page, to, emoji),
    edit: (own, text) => inClient.edit(page, own, text),
    remove: (own) => inClient.remove(page, own),
    file: (name) => inClient.upload(page, note(name)),
});

/** How a person with a phone does it. */
const withPhone = (page, number) => ({
    name: short(number),
    write: (text) => say(page, text),
    reply: (to, text) => onPhone.reply(page, to, text),
    react: (to, emoji) => onPhone.react(page, to, emoji),
    edit: (own, text) => onPhone.edit(page, own, text),
    remove: (own) => onPhone.remove(page, own),
    async file(name) {
        await onPhone.take(page, note(name));
        await onPhone.send(page);
    },
});

/** Somebody goes from chat to chat and does things until the time is over. */
async function live(index, page, hands, enter, partners, side) {
    const random = dice(seed * 1000 + index);
    while (since() < end) {
        const partner = random.pick(partners);
        await enter(partner);
        const chat = side === "user" ? chatOf(hands.name, partner) : chatOf(partner, hands.name);
        for (let times = 1 + random.below(4); times && since() < end; times -= 1) {
            await act(random, chat, side, hands).catch(async (error) => {
                // The message has been deleted meanwhile, or has scrolled away: people give up then, too.
                done.skipped += 1;
                step(`${hands.name} gave up: ${String(error).split("\n", 1)}`);
                for (let tries = 0; tries < 3; tries += 1) await page.keyboard.press("Escape");
            });
            await page.waitForTimeout(500 + random.below(2500));
        }
    }
}

/** What a web client has of a chat: for each message that is not deleted who wrote it, what it says, and what is on it. */
const seenInMatrix = (page, number) =>
    page.evaluate((digits) => {
        const client = window.mxMatrixClientPeg.get();
        const ghost = (id) => id.startsWith(`@whatsapp_${digits}:`);
        const room = client.getRooms().find((one) => one.getJoinedMembers().some((member) => ghost(member.userId)));
        const wanted = [];
        for (const shown of room.getLiveTimeline().getEvents()) {
            const mine = shown.getSender() === client.getUserId();
            if (shown.isRedacted() || shown.isRelation("m.replace") || !(mine || ghost(shown.getSender()))) continue;
            if (shown.isDecryptionFailure()) wanted.push({ mine, text: "UNDECRYPTABLE", reactions: [] });
            if (shown.getType() !== "m.room.message") continue;
            const { body, filename } = shown.getContent();
            const annotations = room.relations.getChildEventsForEvent(shown.getId(), "m.annotation", "m.reaction");
            const reactions = (annotations?.getSortedAnnotationsByKey() ?? [])
                .flatMap(([key, events]) => [...events].filter((one) => !one.isRedacted()).map((one) => `${key} ${one.getSender() === client.getUserId() ? "user" : "phone"}`));
            const said = (filename ?? body).replace(/^(> .*\n)+\n/, "");
            wanted.push({ mine, text: said, reactions: reactions.sort() });
        }
        return wanted;
    }, number.slice(1));

/** What the open chat of a phone page shows, in the same form. */
const seenOnPhone = (page, number) =>
    page.evaluate((own) => {
        const shown = [];
        for (const item of document.querySelectorAll("#messages > li[data-id]")) {
            if (/This message was deleted/.test(item.textContent)) continue;
            const mine = item.classList.contains("own");
            const text = item.querySelector(".body > .text, .body a.file b")?.textContent ?? item.querySelector(".body").textContent;
            const reactions = [...item.querySelectorAll(".reaction")].flatMap((one) => {
                const [, emoji, who] = /^(\S+) by (.*)$/.exec(one.getAttribute("aria-label"));
                return who.split(" and ").map((name) => `${emoji} ${name === "you" ? "phone" : "user"}`);
            });
            shown.push({ mine, text, reactions: reactions.sort() });
        }
        return shown;
    }, number);

const emoji = (text) => text.replaceAll("\ufe0f", "");
const line = ({ text, reactions }) => emoji([text, ...reactions].join(" | "));
/** Each side's own messages in order; how the two sides interleave is each one's own. */
const bothSides = (messages, user) => ({
    user: messages.filter(({ mine }) => mine === user).map(line),
    phone: messages.filter(({ mine }) => mine !== user).map(line),
});

/**
 * What is missing until both sides know that all was read: ticks on the phone, the phone's receipt in the web client. And how far the
 * web client's own receipt is behind what the phone wrote, for whoever looks for the cause.
 */
async function unread(matrix, number, page) {
    const ticks = await page.locator("#messages > li.own .ticks:not(.read, .played)").count();
    const { behind, unseen } = await matrix.evaluate((digits) => {
        const client = window.mxMatrixClientPeg.get();
        const ghost = (id) => id.startsWith(`@whatsapp_${digits}:`);
        const room = client.getRooms().find((one) => one.getJoinedMembers().some((member) => ghost(member.userId)));
        const { userId } = room.getJoinedMembers().find((member) => ghost(member.userId));
        const events = room.getLiveTimeline().getEvents();
        const read = (event) => events.findIndex((one) => one.getId() === event);
        const written = (by) => events.findLastIndex((one) => one.getSender() === by && one.getType() === "m.room.message" && !one.isRelation() && !one.isRedacted());
        const me = client.getUserId();
        // Without what the client only supposes because its user has written something.
        const mine = room.getEventReadUpTo(me, true);
        return {
            behind: Math.max(0, written(me) - read(room.getEventReadUpTo(userId))),
            unseen: Math.max(0, written(userId) - read(mine)),
        };
    }, number.slice(1));
    return { ticks, behind, unseen };
}

/** A web client opens a chat where it was left; what has come since is at the end. */
async function toTheEnd(matrix) {
    const { x, y, width, height } = await matrix.locator(".mx_RoomView_messagePanel").boundingBox();
    await matrix.mouse.move(x + width / 2, y + height / 2);
    await matrix.mouse.wheel(0, 100_000);
}

/** Opens a chat of a phone to its beginning. */
async function whole(page, name) {
    await openChat(page, name);
    for (let more = page.locator("#earlier button, button#earlier"); await more.first().isVisible(); ) {
        await more.first().click();
        await page.waitForTimeout(200);
    }
}

/** Compares one chat until both sides agree; what it returns is how many messages they agree on. */
async function agree(user, matrix, phone, page) {
    const deadline = Date.now() + SETTLING;
    // Whoever opens a chat and goes to its end has read it.
    await matrix.getByRole("treeitem", { name: new RegExp(phone.number.slice(1)) }).first().click();
    for (;;) {
        await toTheEnd(matrix);
        await whole(page, short(user));
        const there = bothSides(await seenInMatrix(matrix, phone.number), true);
        const here = bothSides(await seenOnPhone(page, phone.number), false);
        try {
            assert.deepEqual(there, here);
            const { user: texts, phone: others } = chatOf(user, phone.number);
            for (const text of [...texts, ...others]) {
                const times = [...there.user, ...there.phone].filter((said) => said.split(" | ")[0] === text).length;
                assert.equal(times, 1, `${text} is shown ${times} times`);
            }
            const { unseen, ...missing } = await unread(matrix, phone.number, page);
            assert.deepEqual(missing, { ticks: 0, behind: 0 }, `not all was read; the web client has not said so of ${unseen} events`);
            return there.user.length + there.phone.length;
        } catch (error) {
            if (Date.now() > deadline) throw error;
            await page.waitForTimeout(1000);
        }
    }
}

async function mingle() {
    const people = [];
    for (const user of users) {
        const page = await browser.open(`${web}/#/login`, { viewport: { width: 1000, height: 900 } });
        attached.push([short(user), page]);
        await logIn(page, short(user), password);
        people.push({ user, page });
    }
    const holders = [];
    for (const phone of phones) {
        const page = await browser.open(phone.page, { viewport: { width: 900, height: 900 } });
        attached.push([short(phone.number), page]);
        holders.push({ phone, page });
    }
    for (const { phone, page } of holders) {
        for (const { user, page: matrix } of people) {
            await openChat(page, short(user));
            await say(page, `hello ${short(user)}`);
            chatOf(user, phone.number).phone.push(`hello ${short(user)}`);
            await acceptInvitation(matrix, new RegExp(phone.number.slice(1)));
            await event(matrix, `hello ${short(user)}`).waitFor();
            await tidy(matrix);
        }
    }
    step(`${people.length} users and ${holders.length} phones know one another`);

    for (const [, page] of attached) page.context().setDefaultTimeout(15_000);
    end = since() + seconds;
    const numbers = phones.map(({ number }) => number);
    await Promise.all([
        ...people.map(({ user, page }, index) => {
            const enter = (number) => page.getByRole("treeitem", { name: new RegExp(number.slice(1)) }).first().click();
            return live(index, page, inMatrix(page, user), enter, numbers, "user");
        }),
        ...holders.map(({ phone, page }, index) =>
            live(100 + index, page, withPhone(page, phone.number), (user) => openChat(page, short(user)), users, "phone")),
    ]);
    step(`they did: ${JSON.stringify(done)}`);
    const acts = Object.entries(done).reduce((sum, [what, times]) => (what === "skipped" ? sum : sum + times), 0);
    assert.ok(acts > 0, "nobody did anything");
    assert.ok(done.skipped * 4 <= acts, `${done.skipped} of ${acts + done.skipped} acts could not be done`);

    let messages = 0;
    for (const { user, page } of people) for (const { phone, page: there } of holders) messages += await agree(user, page, phone, there);
    for (const { page } of people) {
        assert.equal(await page.locator(".mx_EventTile_e2eIcon, .mx_DecryptionFailureBody").count(), 0, "a shield");
    }
    assert.deepEqual(problems, [], "a page complains");
    step(`both sides agree on ${messages} messages in ${people.length * holders.length} chats`);
}

try {
    await mingle();
} catch (error) {
    for (const [what, page] of attached) await page.screenshot({ path: path.join(folder, `${what}.png`) }).catch(() => {});
    console.log(`pictures of the failure are in ${folder}`);
    for (const problem of problems) console.log(`a page complained: ${problem}`);
    throw error;
} finally {
    await browser.close();
}
