// The pictures of the README: a conversation in the web client beside the phone page, and the phone page by itself.
//
// `node picture.mjs '{"web":…,"user":…,"password":…,"phone_page":…,"folder":…}'`
import path from "node:path";

import {
    acceptInvitation,
    bubble,
    event,
    logIn,
    menuOf,
    openChat,
    PATIENCE,
    say,
    start,
    startVoice,
    tidy,
    write,
} from "./browser.mjs";

const { web, user, password, phone_page: phonePage, folder } = JSON.parse(process.argv[2]);
const HEIGHT = 700;
const WIDE = 860;
const NARROW = 380;
const SCALE = 1.5;

const problems = [];
const browser = await start(problems);
const view = (width) => ({ viewport: { width, height: HEIGHT }, deviceScaleFactor: SCALE });
const matrix = await browser.open(`${web}/#/login`, view(WIDE));
const name = /^@([^:]+)/.exec(user)[1];
await logIn(matrix, name, password);
// A narrow list of rooms: the conversation is what matters.
await matrix.evaluate(() => localStorage.setItem("mx_lhs_size", "236"));
await matrix.reload();
await matrix.locator(".mx_RoomList").waitFor();
const phone = await browser.open(phonePage, view(NARROW));
await openChat(phone, name);

/** Writes on one side and waits until the other shows it. */
const fromPhone = async (text) => {
    await say(phone, text);
    await event(matrix, text).waitFor();
};
const fromMatrix = async (text, shown = text) => {
    await write(matrix, text);
    await bubble(phone, shown).waitFor();
};

/** A photo of the river, painted. */
async function photo() {
    const base64 = await phone.evaluate(() => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 300 });
        const context = canvas.getContext("2d");
        const paint = (colours, top, bottom) => {
            const shade = context.createLinearGradient(0, top, 0, bottom);
            colours.forEach((colour, index) => shade.addColorStop(index / (colours.length - 1), colour));
            context.fillStyle = shade;
        };
        const hill = (height, rise, wave) => {
            context.beginPath();
            context.moveTo(0, 300);
            for (let x = 0; x <= 640; x += 8) context.lineTo(x, height - rise * Math.sin(x / wave));
            context.lineTo(640, 300);
            context.fill();
        };
        paint(["#2b4c8c", "#e8a06a", "#ffd9a0"], 0, 190);
        context.fillRect(0, 0, 640, 300);
        context.fillStyle = "#fff3d6";
        context.beginPath();
        context.arc(430, 120, 26, 0, 7);
        context.fill();
        paint(["#5a5f8f", "#434a76"], 110, 220);
        hill(165, 26, 95);
        paint(["#2f4a4c", "#203436"], 160, 240);
        hill(200, 14, 60);
        paint(["#e0a676", "#3d5a86"], 205, 300);
        context.fillRect(0, 215, 640, 85);
        context.fillStyle = "rgb(255 240 210 / .5)";
        for (let row = 0; row < 9; row++) context.fillRect(430 - 60 + row * 5, 222 + row * 8, 120 - row * 10, 3);
        return canvas.toDataURL("image/jpeg", 0.85).split(",")[1];
    });
    return { name: "river.jpg", mimeType: "image/jpeg", buffer: Buffer.from(base64, "base64") };
}

await say(phone, "Hi! Your bike is *ready* 🚲");
await acceptInvitation(matrix, /\+49/);
await event(matrix, "Your bike is ready").waitFor();
await tidy(matrix);
await fromMatrix("**Wonderful!** Can you fetch it?", "Wonderful! Can you fetch it?");
await startVoice(phone, 4000);
await phone.getByRole("button", { name: "Send", exact: true }).click();
await matrix.locator(".mx_MVoiceMessageBody").waitFor();
await fromMatrix("Thank you 🙏 Shall we try it out on Sunday?");
await phone.locator("input[type=file]").setInputFiles(await photo());
await fromPhone("Down here by the river?");
await matrix.locator(".mx_MImageBody_thumbnail").waitFor();
await (await menuOf(phone, "try it out on Sunday")).getByRole("menuitem", { name: "Reply" }).click();
await fromPhone("Yes, at ten!");
await event(matrix, "Yes, at ten!").hover();
await matrix.getByRole("button", { name: "React", exact: true }).click();
await matrix.locator(".mx_EmojiPicker_quick .mx_EmojiPicker_item", { hasText: "🎉" }).click();
await bubble(phone, "Yes, at ten!").locator(".reaction").waitFor();

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

const shot = (page) => page.screenshot({ animations: "disabled", caret: "hide" });

/** Puts shots side by side, the last `phones` of them in the frame of a phone. */
async function sheet(name, shots, widths, phones) {
    const images = shots.map((png) => `<img src="data:image/png;base64,${png.toString("base64")}">`);
    const width = widths.reduce((sum, one) => sum + one, 0) + 28 * (shots.length - 1) + 48;
    const page = await browser.open("about:blank", { viewport: { width, height: HEIGHT + 48 }, deviceScaleFactor: SCALE });
    await page.setContent(`<style>
        body { margin: 0; padding: 24px; display: flex; gap: 28px; background: #cfd5e3 }
        img { display: block; height: ${HEIGHT}px; border-radius: 10px; box-shadow: 0 2px 6px rgb(0 0 0 / .25) }
        img:nth-last-child(-n + ${phones}) { border-radius: 26px; outline: 7px solid #20243a }
    </style>${images.join("")}`);
    await page.waitForFunction(() => [...document.images].every((image) => image.complete));
    await page.screenshot({ path: path.join(folder, name) });
}

await sheet("conversation.png", await Promise.all([matrix, phone].map(shot)), [WIDE, NARROW], 1);

// The phone by itself: what can be done with a message, its settings, and, in the dark, the sandbox behind it.
const views = [];
await menuOf(phone, "Shall we try it out");
await phone.getByRole("menuitemradio").first().hover();
views.push(await shot(phone));
await phone.keyboard.press("Escape");
await phone.getByRole("button", { name: "Back to the chats" }).click();
await phone.getByRole("button", { name: "Settings" }).click();
await phone.getByRole("dialog").getByText("Third-party chats").first().waitFor();
views.push(await shot(phone));
await phone.keyboard.press("Escape");
await phone.emulateMedia({ colorScheme: "dark" });
await phone.getByRole("button", { name: "Faults and clock" }).click();
await phone.getByRole("dialog").getByText("What goes wrong").waitFor();
views.push(await shot(phone));
await sheet("phone.png", views, views.map(() => NARROW), 3);

await browser.close();
if (problems.length) throw new Error(`the pages complain:\n${problems.join("\n")}`);
