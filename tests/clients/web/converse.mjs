// A conversation of a Matrix web client with two phones beside it: all that people do, and both sides agree.
//
// `node converse.mjs '{"web":…,"user":…,"password":…,"phones":[{"page":…,"number":…,"name":…},…],"folder":…}'`
import assert from "node:assert/strict";
import path from "node:path";

import {
    acceptInvitation,
    arrives,
    barriers,
    bubble,
    colourOf,
    event,
    film,
    inClient,
    logIn,
    menuOf,
    onPhone,
    openChat,
    PATIENCE,
    picture,
    say,
    start,
    startVoice,
    tidy,
    write,
} from "./browser.mjs";

const { web, user, password, phones, folder } = JSON.parse(process.argv[2]);
const [bea, cem] = phones;
const name = /^@([^:]+)/.exec(user)[1];
const problems = [];
const browser = await start(problems);
const begun = Date.now();
const step = (what) => console.log(`${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${what}`);
const attached = [];

/** The sound of a phone's own voice message, as a file. */
async function sound(page, number, message) {
    const id = await message.getAttribute("data-id");
    const base64 = await page.evaluate(async (address) => {
        const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
        return btoa(String.fromCharCode(...bytes));
    }, `/control/phones/${encodeURIComponent(number)}/media/${id}`);
    return { name: "sound.ogg", mimeType: "audio/ogg", buffer: Buffer.from(base64, "base64") };
}

/** Nothing stands in anybody's way on this page as it is now. */
async function open(page, what) {
    assert.deepEqual(await barriers(page), [], `barriers: ${what}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${what}: ${wide} pixels wider than the window`);
}

/** Edits and deletions, both ways. */
async function changes(matrix, left) {
    await say(left, "Seven o'clock");
    await arrives(matrix, event(matrix, "Seven o'clock"));
    await onPhone.edit(left, "Seven o'clock", "Eight o'clock");
    await arrives(matrix, event(matrix, "Eight o'clock").getByText("(edited)"));
    await bubble(left, "Eight o'clock").getByText("edited").waitFor();
    await (await menuOf(left, "Eight o'clock")).getByRole("menuitem", { name: "Delete" }).click();
    await open(left, "question before a deletion");
    await left.getByRole("button", { name: "Delete" }).click();
    await arrives(matrix, matrix.locator(".mx_EventTile", { hasText: /Message deleted/ }).first());
    await bubble(left, "This message was deleted").waitFor();

    await write(matrix, "See you on Monday");
    await bubble(left, "See you on Monday").waitFor();
    await inClient.edit(matrix, "See you on Monday", "See you on Tuesday");
    await bubble(left, "See you on Tuesday").getByText("edited").waitFor();
    assert.equal(await left.getByText("See you on Monday").count(), 0);
    await inClient.remove(matrix, "See you on Tuesday");
    await left.getByText("See you on Tuesday").waitFor({ state: "detached" });
    await left.locator("#messages > li:not(.own)", { hasText: "This message was deleted" }).waitFor();
    step("edits and deletions both ways");
}

/** Pictures with their captions, files, and stickers, both ways. */
async function pictures(matrix, left) {
    await onPhone.take(left, await picture(left, "rgb(200, 30, 60)"));
    await say(left, "A red one");
    const received = event(matrix, "A red one").locator(".mx_MImageBody img.mx_MImageBody_thumbnail");
    await arrives(matrix, received);
    assert.deepEqual(await colourOf(received), [200, 30, 60]);
    await onPhone.edit(left, "A red one", "A scarlet one");
    await arrives(matrix, event(matrix, "A scarlet one"));
    await bubble(left, "A scarlet one").getByText("edited").waitFor();
    await inClient.upload(matrix, await picture(left, "rgb(20, 90, 220)"));
    const shown = left.locator("#messages > li:not(.own) .picture img").last();
    await shown.waitFor();
    assert.deepEqual(await colourOf(shown), [20, 90, 220]);
    await shown.click();
    await left.locator("dialog.light img").waitFor();
    await open(left, "an enlarged picture");
    await left.keyboard.press("Escape");

    const text = (name, said) => ({ name, mimeType: "text/plain", buffer: Buffer.from(said) });
    await onPhone.take(left, text("notes.txt", "Milk, bread"));
    await onPhone.send(left);
    await arrives(matrix, matrix.locator(".mx_MFileBody", { hasText: "notes.txt" }));
    await inClient.upload(matrix, text("list.txt", "Eggs, flour"));
    const link = left.locator("#messages > li:not(.own) a.file", { hasText: "list.txt" });
    assert.equal(await link.evaluate(async (file) => (await fetch(file.href)).text()), "Eggs, flour");
    step("pictures and files both ways, and a caption edited");

    const chosen = left.waitForEvent("filechooser");
    await onPhone.attach(left, "Sticker");
    await (await chosen).setFiles(await picture(left, "rgb(250, 200, 0)"));
    await onPhone.send(left);
    const yellow = ([red, green, blue]) => red > 230 && green > 180 && green < 220 && blue < 40;
    await left.locator("#messages > li.own .picture.sticker img").waitFor();
    const sticker = matrix.locator(".mx_MImageBody img.mx_MImageBody_thumbnail").last();
    await waitUntil(async () => yellow(await colourOf(sticker)), "the phone's sticker");
    await sendSticker(matrix, await picture(left, "rgb(250, 200, 0)", { type: "image/webp", name: "sun.webp" }));
    const there = left.locator("#messages > li:not(.own) .picture.sticker img");
    await there.waitFor();
    assert.ok(yellow(await colourOf(there)));
    step("stickers both ways");
}

/** Asks again and again; a colour cannot be waited for as a text can. */
async function waitUntil(holds, what) {
    const deadline = Date.now() + PATIENCE;
    while (!(await holds().catch(() => false))) {
        assert.ok(Date.now() < deadline, `waited in vain for ${what}`);
        await new Promise((done) => setTimeout(done, 200));
    }
}

/** The web client's own stickers come from a picker on a server of their makers; the client sends one as that would. */
const sendSticker = (matrix, { name, mimeType, buffer }) =>
    matrix.evaluate(
        async ([name, type, base64]) => {
            const client = window.mxMatrixClientPeg.get();
            const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const { content_uri: uri } = await client.uploadContent(new Blob([bytes], { type }), { name, type });
            const room = window.matrixChat.state.currentRoomId;
            await client.sendStickerMessage(room, uri, { mimetype: type, w: 320, h: 200, size: bytes.length }, name);
        },
        [name, mimeType, buffer.toString("base64")],
    );

/** Films, both ways. */
async function films(matrix, left) {
    await onPhone.take(left, await film(left, "rgb(0, 200, 0)"));
    await say(left, "A green film");
    const received = event(matrix, "A green film").locator(".mx_MVideoBody video");
    await arrives(matrix, received);
    // The client fetches it when it is to be played; until then there is nothing that could.
    await received.evaluate((video) => video.play().catch(() => {}));
    const greenish = ([red, green, blue]) => green > 150 && red < 80 && blue < 80;
    await waitUntil(async () => greenish(await colourOf(received)), "the phone's film");
    await inClient.upload(matrix, await film(left, "rgb(0, 200, 0)"));
    const shown = left.locator("#messages > li:not(.own) video");
    await shown.waitFor();
    await waitUntil(async () => greenish(await colourOf(shown)), "the web client's film");
    step("films both ways");
}

/** Voice messages, recorded and chosen, and other sound, both ways. */
async function sounds(matrix, left) {
    await startVoice(left, 2000);
    await open(left, "a recording");
    await onPhone.send(left);
    const heard = matrix.locator(".mx_MVoiceMessageBody").last();
    await arrives(matrix, heard);
    await heard.getByRole("button", { name: "Play" }).click();
    const spoken = await sound(left, bea.number, left.locator("#messages > li.own", { has: left.locator(".player") }));
    await onPhone.take(left, spoken);
    await left.getByRole("checkbox", { name: "as a voice message" }).check();
    await open(left, "a chosen voice message");
    await onPhone.send(left);
    await arrives(matrix, matrix.locator(".mx_MVoiceMessageBody").nth(1));
    await onPhone.take(left, { ...spoken, name: "song.ogg" });
    await onPhone.send(left);
    // What it is called does not pass: sound has no name there.
    await arrives(matrix, matrix.locator(".mx_MAudioBody", { hasText: "audio.ogg" }));

    await inClient.speak(matrix);
    const voice = left.locator("#messages > li:not(.own) .player", { has: left.getByRole("button", { name: "Play voice message" }) });
    await voice.waitFor();
    const heights = (bars) => new Set(bars.map((bar) => bar.style.getPropertyValue("--height"))).size;
    await waitUntil(async () => (await voice.locator(".bars i").evaluateAll(heights)) > 1, "its waveform");
    await inClient.upload(matrix, spoken);
    const player = left.locator("#messages > li:not(.own) .player").last();
    await player.getByRole("button", { name: "Play audio" }).click();
    await player.getByRole("button", { name: /^Pause/ }).waitFor();
    await player.getByRole("button", { name: /^Play/ }).waitFor();
    step("voice messages, recorded and chosen, and sound, both ways");
}

/** Places and contacts, both ways. */
async function places(matrix, left) {
    await onPhone.attach(left, "Place");
    await open(left, "a place to be filled in");
    await onPhone.fillIn(left, { "Degrees north": "52.5", "Degrees east": "13.25", "What it is called": "The gate" });
    await arrives(matrix, event(matrix, "The gate"));
    await bubble(left, "The gate").getByText("52.50000, 13.25000").waitFor();
    await matrix.evaluate(() => {
        const content = { msgtype: "m.location", body: "The mill", geo_uri: "geo:48.25,11.5" };
        return window.mxMatrixClientPeg.get().sendMessage(window.matrixChat.state.currentRoomId, content);
    });
    await bubble(left, "The mill").locator("a[href^='geo:48.25']").waitFor();

    await onPhone.attach(left, "Contact");
    await open(left, "a contact to be filled in");
    await onPhone.fillIn(left, { Name: "Eva", Number: "+4915199999999" });
    await arrives(matrix, matrix.locator(".mx_MFileBody", { hasText: "Eva.vcf" }));
    await bubble(left, "Eva").getByText("+4915199999999").waitFor();
    const vcard = "BEGIN:VCARD\nVERSION:3.0\nFN:Finn\nTEL;TYPE=CELL:+4915188888888\nEND:VCARD\n";
    await inClient.upload(matrix, { name: "Finn.vcf", mimeType: "text/vcard", buffer: Buffer.from(vcard) });
    await bubble(left, "Finn").waitFor();
    step("places and contacts both ways");
}

/** What does not stay: a timer, and pictures, films and voice messages to be opened once. */
async function fleeting(matrix, left) {
    await onPhone.attach(left, "Disappearing messages");
    await open(left, "a timer to be set");
    await left.getByRole("combobox", { name: "Messages disappear" }).selectOption("after a week");
    await left.getByRole("button", { name: "Set", exact: true }).click();
    await arrives(matrix, event(matrix, "disappear on WhatsApp after"));
    await bubble(left, "Messages disappear after 7 days").waitFor();
    await onPhone.attach(left, "Disappearing messages");
    await left.getByRole("button", { name: "Set", exact: true }).click();
    await arrives(matrix, event(matrix, "do not disappear on WhatsApp any more"));

    await onPhone.take(left, await picture(left, "rgb(90, 0, 90)"));
    await left.getByRole("checkbox", { name: "to be opened once" }).check();
    await onPhone.send(left);
    const own = left.locator("#messages > li.own", { hasText: "Photo, to be opened once" });
    await own.waitFor();
    assert.equal(await own.locator("img").count(), 0, "its sender sees it, too");
    await arrives(matrix, event(matrix, "to be seen once"));
    step("a timer, set and taken back, and a picture to be opened once");
    await received(matrix, left);
}

/** Nobody sends what is to be opened once from Matrix. So the page is told that what came from there last is. */
async function received(matrix, left) {
    const kinds = [
        ["image", "Photo", async () => inClient.upload(matrix, await picture(left, "rgb(1, 90, 90)")), (dialog) => dialog.locator("img")],
        ["video", "Video", async () => inClient.upload(matrix, await film(left, "rgb(1, 90, 90)")), (dialog) => dialog.locator("video")],
        ["voice", "Voice message", () => inClient.speak(matrix), (dialog) => dialog.getByRole("button", { name: "Play voice message" })],
    ];
    const begun = Date.now();
    await left.route("**/messages?with=*", async (route) => {
        const answer = await route.fetch();
        const messages = await answer.json();
        for (const message of messages) if (!message.from_me && message.ts >= begun && message.size) message.view_once = true;
        await route.fulfill({ response: answer, json: messages });
    });
    for (const [kind, title, send, content] of kinds) {
        await send();
        const item = left.locator("#messages > li:not(.own)").last();
        const button = item.getByRole("button", { name: `${title}: open once` });
        await button.waitFor();
        assert.equal(await item.locator("img, video, .player").count(), 0, `${kind} is shown before it is opened`);
        await button.click();
        await content(left.getByRole("dialog")).waitFor();
        await open(left, `an opened ${kind}`);
        await left.keyboard.press("Escape");
        await item.getByText(`${title}: opened once`).waitFor();
        assert.equal(await button.count(), 0, `${kind} can be opened again`);
    }
    await left.unroute("**/messages?with=*");
    step("a picture, a film and a voice message opened once");
}

async function converse() {
    const matrix = await browser.open(`${web}/#/login`, { viewport: { width: 1100, height: 800 } });
    attached.push(["matrix", matrix]);
    await logIn(matrix, name, password);
    const left = await browser.open(bea.page, { viewport: { width: 390, height: 760 } });
    const right = await browser.open(cem.page, { viewport: { width: 1000, height: 760 }, colorScheme: "dark" });
    attached.push(["bea", left], ["cem", right]);
    step("a web client and two phones are open");

    await open(left, "list of chats");
    await openChat(left, name);
    await say(left, "Hello from *Bea*");
    await acceptInvitation(matrix, new RegExp(bea.number.slice(1)));
    await event(matrix, "Hello from Bea").locator("strong", { hasText: "Bea" }).waitFor();
    await tidy(matrix);
    await write(matrix, "Hello from **the other side**");
    await bubble(left, "Hello from the other side").locator("strong").waitFor();
    await bubble(left, "Hello from Bea").locator(".ticks.read").waitFor();
    step("text, formatted, both ways, and read");

    await left.getByRole("textbox", { name: "Message", exact: true }).pressSequentially("I am ty");
    await matrix.locator(".mx_WhoIsTypingTile", { hasText: "typing" }).waitFor();
    await matrix.locator(".mx_SendMessageComposer [contenteditable]").pressSequentially("so am I");
    await left.locator("#peer-state", { hasText: "typing…" }).waitFor();
    await matrix.keyboard.press("Enter");
    await bubble(left, "so am I").waitFor();
    await say(left, "אני כותבת מימין לשמאל");
    await event(matrix, "אני כותבת מימין לשמאל").waitFor();
    step("typing both ways, and a script from right to left");

    await (await menuOf(left, "Hello from the other side")).getByRole("menuitem", { name: "Reply" }).click();
    await say(left, "An answer to that");
    await event(matrix, "An answer to that").locator(".mx_ReplyChain", { hasText: "the other side" }).waitFor();
    await event(matrix, "Hello from Bea").hover();
    await matrix.getByRole("button", { name: "Reply", exact: true }).click();
    await write(matrix, "And one to yours");
    await bubble(left, "And one to yours").locator(".quote", { hasText: "Hello from" }).waitFor();
    step("replies both ways");

    // By long press, as on a phone.
    const pressed = await bubble(left, "And one to yours").boundingBox();
    await left.mouse.move(pressed.x + 20, pressed.y + pressed.height / 2);
    await left.mouse.down();
    await left.getByRole("menuitemradio", { name: "React with 👍" }).waitFor();
    await left.mouse.up();
    await open(left, "menu of a message");
    await left.getByRole("menuitemradio", { name: "React with 👍" }).click();
    await event(matrix, "And one to yours").locator(".mx_ReactionsRowButton", { hasText: "👍" }).click();
    await bubble(left, "And one to yours").locator(".reaction", { hasText: "👍 2" }).waitFor();
    // By the keyboard alone, and taken back.
    await bubble(left, "And one to yours").focus();
    await left.keyboard.press("Enter");
    await left.keyboard.press("Enter");
    await bubble(left, "And one to yours").locator(".reaction", { hasText: /^👍$/ }).waitFor();
    await event(matrix, "And one to yours").locator(".mx_ReactionsRowButton", { hasText: "1" }).waitFor();
    step("reactions both ways, one taken back");

    await changes(matrix, left);
    await pictures(matrix, left);
    await films(matrix, left);
    await sounds(matrix, left);
    await places(matrix, left);
    await fleeting(matrix, left);

    await openChat(right, name);
    await say(right, "Cem here, too");
    await acceptInvitation(matrix, new RegExp(cem.number.slice(1)));
    await event(matrix, "Cem here, too").waitFor();
    await write(matrix, "For Cem alone");
    await bubble(right, "For Cem alone").waitFor();
    assert.equal(await left.getByText("For Cem alone").count(), 0);
    await open(right, "a conversation, dark and wide");
    step("the second phone has a conversation of its own");

    await right.getByRole("button", { name: "Block", exact: true }).click();
    await right.getByRole("dialog").getByRole("button", { name: "Block" }).click();
    await right.getByText(`You have blocked ${name}`).waitFor();
    await open(right, "a blocked chat");
    await right.getByRole("button", { name: "Unblock" }).click();
    await right.getByText(`${name} uses another app`).waitFor();
    step("blocked and unblocked");

    await left.getByRole("button", { name: "Back to the chats" }).click();
    await left.getByRole("button", { name: "Settings" }).click();
    await left.getByRole("switch", { name: /^Third-party chats/ }).click();
    await left.getByText("Third-party chats are off").waitFor();
    await open(left, "settings");
    await left.getByRole("combobox", { name: /^Show them/ }).selectOption("combined");
    await left.keyboard.press("Escape");
    await left.locator("#chats summary").waitFor({ state: "detached" });
    await left.getByRole("button", { name: "Turn them on" }).click();
    await left.getByText("also people whom you have blocked here").waitFor();
    await left.getByRole("button", { name: "Turn on" }).click();
    await left.getByText("Third-party chats are off").waitFor({ state: "detached" });
    step("third-party chats off and, after the warnings, on; one inbox for all");

    await right.getByRole("button", { name: "Faults and clock" }).click();
    await open(right, "faults and clock");
    const shownFaults = await right.locator("dialog [name]").evaluateAll((fields) => fields.map((field) => field.name));
    const allFaults = await right.evaluate(async () => Object.keys(await (await fetch("/control/faults")).json()));
    assert.deepEqual(shownFaults.sort(), allFaults.sort(), "a fault is missing in the panel");
    await right.getByRole("combobox", { name: "Files of phones" }).selectOption("half of it, as if it were all");
    await right.getByRole("spinbutton", { name: /^Refuse messages/ }).fill("503");
    await right.getByRole("button", { name: "Set", exact: true }).click();
    await right.getByText("Set.", { exact: true }).waitFor();
    const set = await right.evaluate(async () => (await fetch("/control/faults")).json());
    assert.deepEqual([set.media, set.refuse, set.proxy_token], ["truncated", 503, null]);
    await right.getByRole("button", { name: "All off" }).click();
    await right.getByText("All faults are off.").waitFor();
    await right.getByRole("button", { name: "End all connections" }).click();
    await right.getByText("Every connection was ended once").waitFor();
    await right.getByRole("spinbutton", { name: /^Deliver twice/ }).fill("1");
    await right.getByRole("button", { name: "Set", exact: true }).click();
    await right.getByText("Set.", { exact: true }).waitFor();
    await right.getByRole("button", { name: "+1 hour" }).click();
    await right.getByText("h ahead").waitFor();
    await right.keyboard.press("Escape");
    await say(right, "Delivered twice, shown once");
    await event(matrix, "Delivered twice, shown once").waitFor();
    assert.equal(await matrix.locator(".mx_EventTile_body", { hasText: "Delivered twice, shown once" }).count(), 1);
    step("a fault and the clock from the panel");

    await left.setViewportSize({ width: 320, height: 600 });
    await open(left, "a very narrow list");
    await openChat(left, name);
    await open(left, "a very narrow conversation");
    assert.match(await left.locator("#sandbox").textContent(), /reaches nobody/);
    const warnings = await matrix.locator(".mx_EventTile_e2eIcon, .mx_DecryptionFailureBody").count();
    assert.equal(warnings, 0, "no shield beside any message");
    assert.deepEqual(problems, [], "no page complains");
    step("nothing warns, nothing complains");
}

try {
    await converse();
} catch (error) {
    for (const [what, page] of attached) await page.screenshot({ path: path.join(folder, `${what}.png`) }).catch(() => {});
    console.log(`pictures of the failure are in ${folder}`);
    for (const problem of problems) console.log(`a page complained: ${problem}`);
    throw error;
} finally {
    await browser.close();
}
