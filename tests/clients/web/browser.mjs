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
