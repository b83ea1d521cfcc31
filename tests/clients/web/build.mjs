// Builds the web client: `node build.mjs SOURCES PACKAGES OUTPUT`.
//
// SOURCES is this folder, PACKAGES a folder with the node_modules of its lock file.
import fs from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const [sources, packages, output] = process.argv.slice(2).map((each) => path.resolve(each));
const require = createRequire(path.join(packages, "package.json"));
const esbuild = require("esbuild");
const postcss = require("postcss");
const sdk = path.dirname(require.resolve("matrix-react-sdk/package.json"));
const quoted = JSON.stringify;

/** Copies a file beside the program, under a name of its own, and gives that name. */
const copied = new Map();
async function asset(file) {
    if (!copied.has(file)) {
        copied.set(file, `assets/${copied.size}-${path.basename(file)}`);
        await fs.mkdir(path.join(output, "assets"), { recursive: true });
        await fs.copyFile(file, path.join(output, copied.get(file)));
    }
    return copied.get(file);
}

/** An SVG as a React component that takes the same properties as any other. */
function icon(svg) {
    const [, attributes, inner] = /<svg([^>]*)>([\s\S]*)<\/svg>/.exec(svg);
    const properties = { role: "presentation", "aria-hidden": true };
    for (const [, name, value] of attributes.matchAll(/([\w:-]+)="([^"]*)"/g)) {
        if (!name.includes(":") && name !== "style" && name !== "class") {
            properties[name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = value;
        }
    }
    return `import React from "react";
        export const Icon = React.forwardRef((props, ref) => React.createElement("svg",
            { ...${quoted(properties)}, ...props, ref, dangerouslySetInnerHTML: { __html: ${quoted(inner)} } }));`;
}

const web = {
    name: "web",
    setup(build) {
        const found = (file) => ({ path: file, namespace: "asset" });
        // A Node module of which one function is asked for.
        build.onResolve({ filter: /^util$/ }, () => ({ path: "util", namespace: "node" }));
        build.onLoad({ filter: /.*/, namespace: "node" }, () => ({ contents: "exports.isArray = Array.isArray;" }));
        build.onResolve({ filter: /^\$webapp\/i18n\/languages\.json$/ }, () => found("languages"));
        build.onResolve({ filter: /^!!raw-loader!/ }, ({ path: name, resolveDir }) => ({
            path: path.resolve(resolveDir, name.slice("!!raw-loader!".length)).replace(/exportJS$/, "$&.js"),
            namespace: "raw",
        }));
        // Scripts that run beside the page: each becomes a file.
        build.onResolve({ filter: /opus-recorder\/dist\/\w+Worker\.min\.(js|wasm)$/ }, ({ path: name }) =>
            found(require.resolve(name)),
        );
        build.onResolve({ filter: /\.(svg|png|gif|webp|jpe?g|ogg|mp3|wasm|woff2?)(\?.*)?$/ }, async (it) => {
            if (it.kind === "url-token" || it.namespace === "asset") return undefined;
            if (it.path.startsWith(".")) return found(path.resolve(it.resolveDir, it.path));
            return found(require.resolve(it.path, { paths: [it.resolveDir] }));
        });
        build.onLoad({ filter: /.*/, namespace: "asset" }, async ({ path: file }) => {
            const url = file === "languages" ? "i18n/languages.json" : await asset(file);
            const svg = file.endsWith(".svg") ? icon(await fs.readFile(file, "utf8")) : "";
            return { contents: `${svg}\nexport default ${quoted(url)};`, loader: "js", resolveDir: sdk };
        });
        build.onLoad({ filter: /.*/, namespace: "raw" }, async ({ path: file }) => ({
            contents: await fs.readFile(file),
            loader: "text",
        }));
        build.onLoad({ filter: /matrix-react-sdk\/src\/workers\/\w+Factory\.ts$/ }, async ({ path: file }) => {
            const name = path.basename(file, "WorkerFactory.ts");
            return { contents: `export default (options) => new Worker(${quoted(`${name}.worker.js`)}, options);` };
        });
        build.onLoad({ filter: /recorderWorkletFactory\.ts$/ }, () => ({
            contents: `export default (context) => context.audioWorklet.addModule("recorder.worklet.js");`,
        }));
    },
};

const common = {
    bundle: true,
    inject: [path.join(sources, "buffer.js")],
    minify: true,
    target: "chrome120",
    legalComments: "none",
    logLevel: "error",
    nodePaths: [path.join(packages, "node_modules")],
    define: { "process.env.NODE_ENV": '"production"', "process.env": "{}", global: "globalThis" },
    tsconfigRaw: { compilerOptions: { jsx: "react", experimentalDecorators: true } },
    plugins: [web],
};

await fs.mkdir(output, { recursive: true });
await esbuild.build({
    ...common,
    entryPoints: { app: path.join(sources, "app.js") },
    format: "esm",
    outdir: output,
    splitting: true,
});
await esbuild.build({
    ...common,
    entryPoints: {
        "blurhash.worker": path.join(sdk, "src/workers/blurhash.worker.ts"),
        "indexeddb.worker": path.join(sdk, "src/workers/indexeddb.worker.ts"),
        "playback.worker": path.join(sdk, "src/workers/playback.worker.ts"),
        "recorder.worklet": path.join(sdk, "src/audio/RecorderWorklet.ts"),
    },
    outdir: output,
});

// The theme: the package's style sheets in their dialect, then plain CSS with its images copied.
const theme = path.join(sdk, "res/themes/light/css/light.pcss");
const dialect = ["import", "mixins", "simple-vars", "nested", "easings", "hexrgba"];
const plain = await postcss(dialect.map((name) => require(`postcss-${name}`)())).process(await fs.readFile(theme), {
    from: theme,
    parser: require("postcss-scss").parse,
});
const images = {
    name: "images",
    setup(build) {
        build.onResolve({ filter: /.*/ }, async ({ kind, path: name }) => {
            if (kind !== "url-token" || name.startsWith("data:") || name.startsWith("#")) return undefined;
            const bare = name.replace(/[?#].*$/, "").replace(/^(\.\.?\/)+/, "");
            const file = bare.startsWith("@") ? require.resolve(bare) : path.join(sdk, "res", bare);
            return { path: await asset(file), external: true };
        });
    },
};
await esbuild.build({
    ...common,
    stdin: { contents: plain.css, loader: "css", resolveDir: path.dirname(theme) },
    outfile: path.join(output, "light.css"),
    plugins: [images],
});

await fs.mkdir(path.join(output, "i18n"), { recursive: true });
await fs.copyFile(path.join(sdk, "src/i18n/strings/en_EN.json"), path.join(output, "i18n/en_EN.json"));
await fs.writeFile(path.join(output, "i18n/languages.json"), '{"en":"en_EN.json"}');
for (const name of ["index.html", "worker.js"]) await fs.copyFile(path.join(sources, name), path.join(output, name));
