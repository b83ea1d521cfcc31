// The picture of the README: a conversation in the web client beside the phone page.
//
// `node picture.mjs '{"web":…,"user":…,"password":…,"phone_page":…,"folder":…}'`
import path from "node:path";

import { acceptInvitation, bubble, event, logIn, openChat, PATIENCE, say, start, tidy, write } from "./browser.mjs";

const { web, user, password, phone_page: phonePage, folder } = JSON.parse(process.argv[2]);
const HEIGHT = 700;
const SCALE = 1.5;

const problems = [];
const browser = await start(problems);
const view = (width) => ({ viewport: { width, height: HEIGHT }, deviceScaleFactor: SCALE });
const matrix = await browser.open(`${web}/#/login`, view(860));
const name = /^@([^:]+)/.exec(user)[1];
await logIn(matrix, name, password);
// A narrow list of rooms: the conversation is what matters.
await matrix.evaluate(() => localStorage.setItem("mx_lhs_size", "236"));
await matrix.reload();
await matrix.locator(".mx_RoomList").waitFor();
const phone = await browser.open(phonePage, view(380));
await openChat(phone, name);

/** Writes on one side and waits until the other shows it. */
const fromPhone = async (text, shown = text) => {
    await say(phone, text);
    await event(matrix, shown).waitFor();
};
const fromMatrix = async (text, shown = text) => {
    await write(matrix, text);
    await bubble(phone, shown).waitFor();
};

await say(phone, "Hi! The shop says your bike is ready 🚲");
await acceptInvitation(matrix, /\+49/);
await event(matrix, "bike is ready").waitFor();
await tidy(matrix);
await fromMatrix("**Wonderful!** Until when are they open?", "Wonderful! Until when are they open?");
await fromPhone("Until *six*. I can fetch it, I am in town anyway", "Until six. I can fetch it");
await fromMatrix("That would be great, thank you 🙏");
await fromMatrix("The receipt is in the blue folder in the hall");
await fromPhone("Found it 👍");
await fromPhone("Shall we try it out on Sunday?");
await fromMatrix("Yes! Ten o'clock at the river?");
await fromPhone("Perfect, see you there");

// Both sides have shown everything, and say so.
await matrix.locator(".mx_RoomView_messagePanel").hover();
await phone.locator("#messages > li.own").last().locator(".ticks.read").waitFor();
await matrix.locator(".mx_RoomTile .mx_NotificationBadge_count", { hasText: "1" }).waitFor({ state: "detached" });
await tidy(matrix);
await matrix.mouse.move(0, 0);
await phone.mouse.move(0, 0);
await phone.evaluate(() => document.activeElement.blur());
await matrix.waitForFunction(() => document.querySelectorAll(".mx_ToastContainer .mx_Toast_toast").length === 0, null, { timeout: PATIENCE });
const warnings = await matrix.locator(".mx_EventTile_e2eIcon, .mx_DecryptionFailureBody").count();
if (warnings) throw new Error(`the web client warns beside ${warnings} messages`);

const pictures = await Promise.all([matrix, phone].map((page) => page.screenshot({ animations: "disabled", caret: "hide" })));
const [left, right] = pictures.map((png) => `data:image/png;base64,${png.toString("base64")}`);
const sheet = await browser.open("about:blank", { viewport: { width: 1316, height: HEIGHT + 48 }, deviceScaleFactor: SCALE });
await sheet.setContent(`<style>
    body { margin: 0; padding: 24px; display: flex; gap: 28px; background: #cfd5e3 }
    img { display: block; height: ${HEIGHT}px; border-radius: 10px; box-shadow: 0 2px 6px rgb(0 0 0 / .25) }
    img + img { border-radius: 26px; outline: 7px solid #20243a }
</style><img src="${left}"><img src="${right}">`);
await sheet.waitForFunction(() => [...document.images].every((image) => image.complete));
await sheet.screenshot({ path: path.join(folder, "conversation.png") });
await browser.close();
if (problems.length) throw new Error(`the pages complain:\n${problems.join("\n")}`);
