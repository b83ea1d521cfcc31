// What the scripts of this folder share: the browser, the web client and the phone pages as people use them.
//
// Packages come from the folder that GATEHOUSE_WEB names, the browser is what CHROMIUM names.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const packages = createRequire(path.join(process.env.GATEHOUSE_WEB, "package.json"));
const { chromium } = packages("playwright-core");
const axe = packages.resolve("axe-core/axe.min.js");

/** How long anything may take on a busy machine. */
export const PATIENCE = 60_000;

const FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A microphone that hums, so that a recording needs neither hardware nor a question.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
];

/** Starts the browser; `problems` collects what its pages complain of. */
export async function start(problems = []) {
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
    const open = async (address, options) => {
        const context = await browser.newContext({ locale: "en-GB", ...options });
        context.setDefaultTimeout(PATIENCE);
        const page = await context.newPage();
        page.on("pageerror", (error) => problems.push(`${address}: ${error.stack ?? error}`));
        page.on("console", (message) => {
            if (/Content Security Policy/.test(message.text())) problems.push(`${address}: ${message.text()}`);
        });
        await page.goto(address);
        return page;
    };
    return { open, close: () => browser.close() };
}

/** What the rules of accessibility find wrong on a page as it is now; nothing is an empty list. */
export async function barriers(page) {
    const session = await page.context().newCDPSession(page);
    // The rules are a script from outside, which the page's own policy keeps out.
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
    const run = (expression) => session.send("Runtime.evaluate", { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    await run(await readFile(axe, "utf8"));
    const { result } = await run(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
        violations.map(({ id, help, nodes }) => id + ": " + help + ": " + nodes.map(({ html }) => html.slice(0, 160)).join(" | ")))`);
    await session.detach();
    return result.value;
}

/** Logs in to the web client as a person would, and puts off what it would like to set up. */
export async function logIn(page, user, password) {
    await page.locator('input[name="username"]').fill(user);
    await page.locator('input[name="password"]').fill(password);
    await page.locator(".mx_Login_submit").click();
    await page.locator(".mx_RoomList").waitFor();
    await tidy(page);
}

/** Closes hints and offers that lie over the page. */
export async function tidy(page) {
    for (const name of ["Later", "Dismiss", "OK", "Not now"]) {
        for (const button of await page.locator(".mx_ToastContainer, .mx_Tooltip, [role=tooltip], [role=dialog]").getByRole("button", { name, exact: true }).all()) {
            await button.click({ timeout: 2000 }).catch(() => {});
        }
    }
}

/** Accepts the invitation to a chat and waits until it is open. */
export async function acceptInvitation(page, name) {
    await page.getByRole("treeitem", { name }).first().click();
    await page.getByRole("button", { name: /^(Start chatting|Accept)$/ }).click();
    await page.locator(".mx_SendMessageComposer").waitFor();
}

/** Writes into the open chat of the web client. */
export async function write(page, text) {
    const field = page.locator(".mx_SendMessageComposer [contenteditable]");
    await field.click();
    await page.keyboard.insertText(text);
    await page.keyboard.press("Enter");
}

/** The event of the web client that shows this text. */
export const event = (page, text) => page.locator(".mx_EventTile", { hasText: text }).last();

/** Waits until the web client shows something new: it loads what is below only when one looks there. */
export async function arrives(page, shown) {
    const down = page.locator(".mx_JumpToBottomButton_scrollDown");
    const deadline = Date.now() + PATIENCE;
    for (;;) {
        if (await down.isVisible()) await down.click({ timeout: 2000 }).catch(() => {});
        try {
            await shown.waitFor({ timeout: 2000 });
            return;
        } catch (error) {
            if (Date.now() > deadline) throw error;
        }
    }
}

/** Opens the chat with `user` on a phone page. */
export async function openChat(page, user) {
    await page.locator("#chats .row", { hasText: user }).click();
    await page.locator("#conversation").waitFor();
}

/** Writes on a phone page. */
export async function say(page, text) {
    await page.getByRole("textbox", { name: "Message", exact: true }).fill(text);
    await page.keyboard.press("Enter");
}

/** The bubble of a phone page that shows this text. */
export const bubble = (page, text) => page.locator("#messages > li[data-id]", { hasText: text }).last();

/** Opens the menu of a message on a phone page. */
export async function menuOf(page, text) {
    await bubble(page, text).locator(".body").click({ button: "right" });
    const menu = page.getByRole("menu");
    await menu.waitFor();
    return menu;
}

/** Begins a voice message on a phone page and lets it run. */
export async function startVoice(page, length) {
    await page.getByRole("button", { name: "Record a voice message" }).click();
    const seconds = Math.ceil(length / 1000);
    await page.getByRole("timer").getByText(`0:0${seconds}`).waitFor();
}

/** What people do with a message in the web client. */
export const inClient = {
    async reply(page, to, text) {
        await event(page, to).hover();
        await event(page, to).getByRole("button", { name: "Reply", exact: true }).click();
        await write(page, text);
    },
    async react(page, to, emoji) {
        await event(page, to).hover();
        await event(page, to).getByRole("button", { name: "React", exact: true }).click();
        await page.locator(".mx_EmojiPicker .mx_EmojiPicker_item_wrapper", { hasText: emoji }).first().click();
        await page.locator(".mx_EmojiPicker").waitFor({ state: "detached" });
    },
    async edit(page, own, text) {
        await event(page, own).hover();
        await event(page, own).getByRole("button", { name: "Edit", exact: true }).click();
        await page.locator(".mx_EditMessageComposer [contenteditable]").click();
        await page.keyboard.press("ControlOrMeta+A");
        await page.keyboard.insertText(text);
        await page.keyboard.press("Enter");
        await page.locator(".mx_EditMessageComposer").waitFor({ state: "detached" });
    },
    async remove(page, own) {
        await event(page, own).hover();
        await event(page, own).getByRole("button", { name: "Options", exact: true }).click();
        await page.getByRole("menuitem", { name: "Remove" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    },
    /** Sends a file: `{name, mimeType, buffer}`. */
    async upload(page, file) {
        const send = page.getByRole("button", { name: "Upload", exact: true });
        await page.locator(".mx_MessageComposer input[type=file]").setInputFiles(file);
        await send.click();
        await send.waitFor({ state: "detached" });
    },
    /** Records a voice message for a moment and sends it. */
    async speak(page) {
        // A browser without a sound card never gets its worklets going; the client can record without them.
        await page.evaluate(() => Object.defineProperty(BaseAudioContext.prototype, "audioWorklet", { get: () => undefined, configurable: true }));
        await page.getByRole("button", { name: "More options" }).click();
        await page.getByRole("menuitem", { name: "Voice Message" }).click();
        await page.locator(".mx_VoiceRecordComposerTile_recording").getByText("00:01").waitFor();
        await page.getByRole("button", { name: "Stop recording" }).click();
        await page.getByRole("button", { name: "Send voice message" }).click();
        await page.locator(".mx_VoiceRecordComposerTile_delete").waitFor({ state: "detached" });
    },
};

/** What people do with a message on a phone page. */
export const onPhone = {
    choose: async (page, message, role, name) => (await menuOf(page, message)).getByRole(role, { name }).click(),
    async reply(page, to, text) {
        await onPhone.choose(page, to, "menuitem", "Reply");
        await say(page, text);
    },
    react: (page, to, emoji) => onPhone.choose(page, to, "menuitemradio", `React with ${emoji}`),
    async edit(page, own, text) {
        await onPhone.choose(page, own, "menuitem", "Edit");
        await say(page, text);
    },
    async remove(page, own) {
        await onPhone.choose(page, own, "menuitem", "Delete");
        await page.getByRole("button", { name: "Delete", exact: true }).click();
    },
    /** Chooses a file: `{name, mimeType, buffer}`; it waits to be sent. */
    take: (page, file) => page.locator("#compose input[type=file]").setInputFiles(file),
    send: (page) => page.getByRole("button", { name: "Send", exact: true }).click(),
    /** Opens the menu of what can be sent and takes one. */
    async attach(page, what) {
        await page.getByRole("button", { name: "Attach", exact: true }).click();
        await page.getByRole("menuitem", { name: what }).click();
    },
    /** Fills in the dialog that is open: label to value; and confirms with the Enter key. */
    async fillIn(page, fields) {
        const dialog = page.getByRole("dialog");
        for (const [label, value] of Object.entries(fields)) await dialog.getByLabel(label).fill(value);
        await page.keyboard.press("Enter");
        await dialog.waitFor({ state: "detached" });
    },
};

const file = (name, mimeType, base64) => ({ name, mimeType, buffer: Buffer.from(base64, "base64") });

/** A picture of one colour, drawn in the browser. */
export const picture = async (page, colour, { type = "image/png", name = "picture.png" } = {}) =>
    file(
        name,
        type,
        await page.evaluate(
            ([fill, kind]) => {
                const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 200 });
                const context = canvas.getContext("2d");
                context.fillStyle = fill;
                context.fillRect(0, 0, 320, 200);
                return canvas.toDataURL(kind).split(",")[1];
            },
            [colour, type],
        ),
    );

/** A film of a second in one colour, made in the browser. */
export const film = async (page, colour, name = "film.mp4") =>
    file(
        name,
        "video/mp4",
        await page.evaluate(async (fill) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
            const context = canvas.getContext("2d");
            const recorder = new MediaRecorder(canvas.captureStream(20), { mimeType: "video/mp4;codecs=avc1.42E01E" });
            const parts = [];
            recorder.ondataavailable = ({ data }) => parts.push(data);
            recorder.start();
            for (let frame = 0; frame < 20; frame += 1) {
                context.fillStyle = fill;
                context.fillRect(0, 0, 160, 120);
                await new Promise((done) => setTimeout(done, 50));
            }
            await new Promise((done) => {
                recorder.onstop = done;
                recorder.stop();
            });
            const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
            return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        }, colour),
    );

/** The colour in the middle of a shown picture or film. */
export const colourOf = (shown) =>
    shown.evaluate(async (element) => {
        if (element.decode) await element.decode();
        else if (element.readyState < 2) await new Promise((done) => element.addEventListener("loadeddata", done, { once: true }));
        const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
        const context = canvas.getContext("2d");
        context.drawImage(element, 0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    });
