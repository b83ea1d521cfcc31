// A conversation of a Matrix web client with two phones beside it: all that people do, and both sides agree.
//
// `node converse.mjs '{"web":…,"user":…,"password":…,"phones":[{"page":…,"number":…,"name":…},…],"folder":…}'`
import assert from "node:assert/strict";
import path from "node:path";

import {
    acceptInvitation,
    barriers,
    bubble,
    event,
    logIn,
    menuOf,
    openChat,
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

/** A picture that no other is like. */
async function picture(page, colour) {
    const base64 = await page.evaluate((fill) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 200 });
        const context = canvas.getContext("2d");
        context.fillStyle = fill;
        context.fillRect(0, 0, 320, 200);
        return canvas.toDataURL("image/png").split(",")[1];
    }, colour);
    return { name: "picture.png", mimeType: "image/png", buffer: Buffer.from(base64, "base64") };
}

/** The sound of a phone's own voice message, as a file. */
async function sound(page, number, message) {
    const id = await message.getAttribute("data-id");
    const base64 = await page.evaluate(async (address) => {
        const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
        return btoa(String.fromCharCode(...bytes));
    }, `/control/phones/${encodeURIComponent(number)}/media/${id}`);
    return { name: "sound.ogg", mimeType: "audio/ogg", buffer: Buffer.from(base64, "base64") };
}

/** The colour in the middle of a shown picture. */
const colourOf = (image) =>
    image.evaluate(async (shown) => {
        await shown.decode();
        const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
        const context = canvas.getContext("2d");
        context.drawImage(shown, 0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    });

/** Nothing stands in anybody's way on this page as it is now. */
async function open(page, what) {
    assert.deepEqual(await barriers(page), [], `barriers: ${what}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${what}: ${wide} pixels wider than the window`);
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

    await say(left, "Seven o'clock");
    await event(matrix, "Seven o'clock").waitFor();
    await (await menuOf(left, "Seven o'clock")).getByRole("menuitem", { name: "Edit" }).click();
    await say(left, "Eight o'clock");
    await event(matrix, "Eight o'clock").getByText("(edited)").waitFor();
    await bubble(left, "Eight o'clock").getByText("edited").waitFor();
    await (await menuOf(left, "Eight o'clock")).getByRole("menuitem", { name: "Delete" }).click();
    await open(left, "question before a deletion");
    await left.getByRole("button", { name: "Delete" }).click();
    await matrix.locator(".mx_EventTile", { hasText: /Message deleted/ }).first().waitFor();
    await bubble(left, "This message was deleted").waitFor();
    step("an edit and a deletion");

    await left.locator("input[type=file]").setInputFiles(await picture(left, "rgb(200, 30, 60)"));
    await say(left, "A red one");
    const received = event(matrix, "A red one").locator(".mx_MImageBody img.mx_MImageBody_thumbnail");
    await received.waitFor();
    assert.deepEqual(await colourOf(received), [200, 30, 60]);
    await matrix.locator(".mx_MessageComposer input[type=file]").setInputFiles(await picture(left, "rgb(20, 90, 220)"));
    await matrix.getByRole("button", { name: "Upload", exact: true }).click();
    const shown = left.locator("#messages > li:not(.own) .picture img").last();
    await shown.waitFor();
    assert.deepEqual(await colourOf(shown), [20, 90, 220]);
    await shown.click();
    await left.locator("dialog.light img").waitFor();
    await open(left, "an enlarged picture");
    await left.keyboard.press("Escape");
    const text = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("Milk, bread") };
    await left.locator("input[type=file]").setInputFiles(text);
    await left.getByRole("button", { name: "Send", exact: true }).click();
    await matrix.locator(".mx_MFileBody", { hasText: "notes.txt" }).waitFor();
    step("pictures both ways, and a file");

    await startVoice(left, 2000);
    await left.getByRole("button", { name: "Send", exact: true }).click();
    const heard = matrix.locator(".mx_MVoiceMessageBody").last();
    await heard.getByRole("button", { name: "Play" }).click();
    const spoken = left.locator("#messages > li.own", { has: left.locator(".player") });
    await matrix.locator(".mx_MessageComposer input[type=file]").setInputFiles(await sound(left, bea.number, spoken));
    await matrix.getByRole("button", { name: "Upload", exact: true }).click();
    const player = left.locator("#messages > li:not(.own) .player");
    await player.getByRole("button", { name: /^Play/ }).click();
    await player.getByRole("button", { name: /^Pause/ }).waitFor();
    await player.getByRole("button", { name: /^Play/ }).waitFor();
    step("a recorded voice message and a sound, played on the other side");

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
