// A Matrix web client: the interface of matrix-react-sdk as it is, with the little that a browser must add to it.
//
// The homeserver comes from `config.json` beside it.
import React from "react";
import ReactDOM from "react-dom";
import BasePlatform from "matrix-react-sdk/src/BasePlatform";
import { MatrixClientPeg } from "matrix-react-sdk/src/MatrixClientPeg";
import { setLanguage } from "matrix-react-sdk/src/languageHandler";
import PlatformPeg from "matrix-react-sdk/src/PlatformPeg";
import SdkConfig from "matrix-react-sdk/src/SdkConfig";
import { setTheme } from "matrix-react-sdk/src/theme";
import AutoDiscoveryUtils from "matrix-react-sdk/src/utils/AutoDiscoveryUtils";

class Browser extends BasePlatform {
    async getConfig() {
        return undefined;
    }
    getDefaultDeviceDisplayName() {
        return "web client";
    }
    getHumanReadableName() {
        return "web client";
    }
    async requestNotificationPermission() {
        return "denied";
    }
    async getAppVersion() {
        return "1";
    }
    reload() {
        window.location.reload();
    }
    supportsSetting() {
        return false;
    }
}

/** Starts what fetches files (`worker.js`), and tells it who is logged in when it asks. */
async function fetchFiles() {
    navigator.serviceWorker.addEventListener("message", ({ ports: [answer] }) => {
        const client = MatrixClientPeg.get();
        answer.postMessage({ token: client?.getAccessToken(), homeserver: client?.getHomeserverUrl() });
    });
    await navigator.serviceWorker.register("worker.js");
    if (navigator.serviceWorker.controller) return;
    await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
}

/** What the address names after `#`, in the shape that the client asks for. */
function screen() {
    const [path, query] = window.location.hash.replace(/^#\/?/, "").split("?");
    return { screen: path, params: Object.fromEntries(new URLSearchParams(query)) };
}

async function start() {
    const config = await (await fetch("config.json")).json();
    PlatformPeg.set(new Browser());
    SdkConfig.put({ ...config, default_theme: "light", disable_guests: true, brand: "Matrix" });
    await fetchFiles();
    await setLanguage("en");
    await setTheme("light");
    const server = config.default_server_config["m.homeserver"].base_url;
    const checked = await AutoDiscoveryUtils.validateServerConfigWithStaticUrls(server, undefined, true);
    SdkConfig.add({ validated_server_config: checked });

    // Only now: its modules read the settings as they load.
    const { default: MatrixChat } = await import("matrix-react-sdk/src/components/structures/MatrixChat");
    let chat;
    window.addEventListener("hashchange", () => {
        const { screen: name, params } = screen();
        chat?.showScreen(name, params);
    });
    const here = screen();
    chat = ReactDOM.render(
        React.createElement(MatrixChat, {
            config: SdkConfig.get(),
            enableGuest: false,
            realQueryParams: {},
            startingFragmentQueryParams: here.params,
            initialScreenAfterLogin: here,
            defaultDeviceDisplayName: "web client",
            onNewScreen(name, replace) {
                const where = `#/${name}`;
                if (window.location.hash === where) return;
                if (replace) window.location.replace(where);
                else window.location.assign(where);
            },
            onTokenLoginCompleted() {},
        }),
        document.getElementById("matrixchat"),
    );
    window.matrixChat = chat;
}

await start();
