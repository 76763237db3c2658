import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import en from "./en.json";
import pl from "./pl.json";

const PLURAL = /_(zero|one|few|many|other)$/;

function texts(tree: object, at = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(tree)) {
    const path = at ? `${at}.${name}` : name;
    if (typeof value === "string") found.set(path, value);
    else for (const [key, text] of texts(value as object, path)) found.set(key, text);
  }
  return found;
}

const polish = texts(pl);
const english = texts(en);
const keys = (found: Map<string, string>) =>
  [...new Set([...found.keys()].map((key) => key.replace(PLURAL, "")))].sort();

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx?$/.test(entry.name) && !entry.name.includes(".test.") ? [readFileSync(path, "utf8")] : [];
  });
}

describe("texts", () => {
  it("have the same keys in both languages", () => {
    expect(keys(english)).toEqual(keys(polish));
  });

  it("have every plural form their language knows", () => {
    for (const [found, forms] of [
      [polish, ["one", "few", "many", "other"]],
      [english, ["one", "other"]],
    ] as const) {
      for (const key of found.keys()) {
        if (!/_(one|few|many|other)$/.test(key)) continue;
        const stem = key.replace(PLURAL, "");
        for (const form of forms) expect(found.has(`${stem}_${form}`), `${stem}_${form}`).toBe(true);
      }
    }
  });

  it("name the same facts in both languages", () => {
    const facts = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]).sort();
    for (const [key, text] of english) {
      const other = polish.get(key);
      if (other !== undefined) expect(facts(other), key).toEqual(facts(text));
    }
  });

  it("exist for every key that is written in the sources", () => {
    const known = new Set(keys(polish));
    const written = sources("src").flatMap((text) =>
      [...text.matchAll(/\bt\(\s*"([\w.]+)"/g)].map((match) => match[1] ?? ""),
    );
    expect(written.length).toBeGreaterThan(200);
    expect(written.filter((key) => !known.has(key))).toEqual([]);
  });

  it("are longer than nothing", () => {
    for (const [key, text] of [...polish, ...english])
      if (!key.endsWith("_zero")) expect(text.trim(), key).not.toBe("");
  });

  it("tell every state of a tile apart by its word alone", () => {
    for (const found of [polish, english]) {
      const words = [...found].filter(([key]) => key.startsWith("word.")).map(([, text]) => text.toLowerCase());
      expect(words.length).toBe(12);
      expect(new Set(words).size).toBe(words.length);
    }
  });
});
