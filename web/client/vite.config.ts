import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const WORTH_IT = /\.(js|css|svg)$/; // the page itself is a few lines, fonts are compressed already

/** `x.js.br` and `x.js.gz` beside `x.js`, where they are smaller: the web process serves them and compresses nothing. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    writeBundle({ dir }) {
      if (dir === undefined) return;
      for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
        if (!WORTH_IT.test(name)) continue;
        const plain = readFileSync(join(dir, name));
        for (const [suffix, small] of [
          ["br", brotliCompressSync(plain)],
          ["gz", gzipSync(plain, { level: 9 })],
        ] as const) {
          if (small.length < plain.length) writeFileSync(join(dir, `${name}.${suffix}`), small);
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0, // the page's policy allows no data: address
    modulePreload: { polyfill: false },
    sourcemap: false,
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } } },
  test: {
    environment: "happy-dom",
    environmentOptions: { happyDOM: { url: "http://localhost/" } },
    include: ["src/**/*.test.{ts,tsx}"],
  },
});
