import { describe, expect, it } from "vitest";
import type { Camera } from "../../api/model.ts";
import type { TileController } from "../../media/tileController.ts";
import { judge, type TileFacts, type TileVerdict } from "../../media/tileState.ts";
import { LANGUAGES, NOW_MS, onStage, useStage } from "../../ui/onStage.tsx";
import { TileFace } from "./TileFace.tsx";
import { WHOLE } from "./zoom.ts";

const FINE: TileFacts = {
  nowMs: 100_000,
  assigned: "camera",
  startedAtMs: 0,
  lastShownAtMs: 99_950,
  firstShownAtMs: 1000,
  lastDecodedAtMs: 99_950,
  frameIntervalMs: 40,
  captureAgeMs: 140,
  tellsCapture: true,
  hidden: false,
  visibleSinceMs: 0,
  consoleBlind: false,
  down: null,
  attempting: false,
  retryAtMs: null,
  failure: null,
  wasDelayed: false,
};
const NEVER = { lastShownAtMs: null, firstShownAtMs: null, lastDecodedAtMs: null, startedAtMs: 99_000 };
const AWAY = { reason: "unauthorised", sinceUtcMs: NOW_MS - 60_000, retryAtMs: null, toldAtMs: 40_000 };

/** Facts, and what the tile must say of them in Polish and in English. */
const STATES: Record<string, [facts: Partial<TileFacts>, polish: string, english: string]> = {
  live: [{}, "● na żywo", "● live"],
  delayed: [{ captureAgeMs: 4150 }, "◔ OPÓŹNIENIE 4,2 s", "◔ DELAY 4.2 s"],
  unaged: [{ captureAgeMs: null, tellsCapture: false }, "? obraz, wiek nieznany", "? picture, age unknown"],
  checking: [{ lastShownAtMs: 98_500 }, "◌ sprawdzam…", "◌ checking…"],
  connecting: [NEVER, "łączę…", "connecting…"],
  lost: [{ lastShownAtMs: 90_000, retryAtMs: 103_000 }, "✕ BRAK SYGNAŁU", "✕ NO SIGNAL"],
  reconnecting: [{ lastShownAtMs: 90_000, attempting: true }, "łączę ponownie", "connecting again"],
  away: [{ lastShownAtMs: 30_000, down: AWAY }, "złe hasło kamery", "password"],
  unshowable: [{ ...NEVER, failure: "codec" }, "✕ NIE DO POKAZANIA", "✕ CANNOT BE SHOWN"],
  full: [{ ...NEVER, failure: "full" }, "✕ ZA DUŻO PODGLĄDÓW", "✕ TOO MANY VIEWS"],
  busy: [{ ...NEVER, failure: "busy" }, "✕ CZEKA NA SWOJĄ KOLEJ", "✕ WAITING ITS TURN"],
  off: [{ assigned: "off" }, "WYŁĄCZONA", "SWITCHED OFF"],
  masked: [{ assigned: "masked" }, "ZASŁONIĘTA", "MASKED"],
  no_right: [{ assigned: "no_right" }, "BRAK PRAWA", "NO RIGHT"],
  purpose: [{ assigned: "purpose" }, "PODAJ CEL", "STATE THE PURPOSE"],
};
const CAMERA = { number: 33, name: "Krótka / Niska" } as Camera;

function face(verdict: TileVerdict, language: "pl" | "en" = "pl", facts: object = {}): string {
  const controller = {
    id: 1,
    video: document.createElement("video"),
    verdict,
    figures: { width: 640, height: 360, fps: 12, delayMs: 140, stream: "sub", transcoded: true, why: null },
    lastPicture: null,
    lastCaptureMs: NOW_MS - 357_000,
    lastShownServerMs: null,
    downSinceMs: null,
    refusal: null,
    subscribe: () => () => undefined,
    onTime: (told: (captureMs: number | null) => void) => {
      told(NOW_MS);
      return () => undefined;
    },
    ...facts,
  };
  const { container, unmount } = onStage(
    <TileFace
      controller={controller as unknown as TileController}
      camera={CAMERA}
      pending={false}
      spot
      zoom={WHOLE}
      tour={null}
      askPurpose={() => undefined}
    />,
    language,
  );
  const text = (container.textContent ?? "").replaceAll(/\s+/g, " ");
  const gone = container.querySelector(".tile__stage--gone") !== null;
  expect(gone, "a picture is left exactly where the verdict allows it").toBe(!verdict.picture);
  expect(container.querySelector(".tile__time") !== null, "only a picture has a time").toBe(verdict.picture);
  unmount();
  return text;
}

describe("a tile", () => {
  useStage();

  it.each(LANGUAGES)("says each of its states in words that no other has (%s)", (language) => {
    const said = Object.entries(STATES).map(([name, [facts, polish, english]]) => {
      const text = face(judge({ ...FINE, ...facts }), language);
      expect(text, name).toContain(language === "pl" ? polish : english);
      expect(text, name).toContain("033Krótka / Niska");
      return text;
    });
    expect(new Set(said).size).toBe(said.length);
  });

  it.each(LANGUAGES)("calls nothing live that is not (%s)", (language) => {
    const live = STATES.live?.[language === "pl" ? 1 : 2] ?? "";
    for (const [name, [facts]] of Object.entries(STATES)) {
      expect(face(judge({ ...FINE, ...facts }), language).includes(live), name).toBe(name === "live");
    }
    expect(face({ ...judge(FINE), word: "playback" }, language)).not.toContain(live);
  });

  it("that is lost says since when, for how long, why and when it is tried again", () => {
    const text = face(judge({ ...FINE, lastShownAtMs: 90_000, retryAtMs: 103_000 }));
    expect(text).toContain("od 21:31:07 CET, 5 min 57 s");
    expect(text).toContain("obraz przestał docierać (sieć lub serwer); próba za 3 s");
  });

  it("says why the server refused it, in words", () => {
    const verdict = judge({ ...FINE, ...NEVER, failure: "server" });
    for (const refusal of ["gateway_away", "recorder_away", "server_away", "never_heard_of"]) {
      expect(face(verdict, "pl", { refusal })).not.toContain(refusal);
    }
    expect(face(verdict, "pl", { refusal: "gateway_away" })).toContain("serwer obrazu nie odpowiada");
  });

  it.each(LANGUAGES)("says in the spot whose time it shows, where there is a picture (%s)", (language) => {
    const names =
      language === "pl" ? ["czas: kamera (NTP ok)", "czas: serwer"] : ["time: camera (NTP ok)", "time: server"];
    expect(face(judge(FINE), language, { timeFrom: "camera" })).toContain(names[0]);
    expect(face(judge(FINE), language, { timeFrom: "server" })).toContain(names[1]);
    const lost = judge({ ...FINE, lastShownAtMs: 90_000 });
    for (const text of [face(judge(FINE), language, { timeFrom: null }), face(lost, language, { timeFrom: "camera" })])
      expect(names.filter((name) => text.includes(name))).toEqual([]);
  });

  it.each(LANGUAGES)("says beside the spot's size why it is not the stream that was asked for (%s)", (language) => {
    const given = (why: string) => ({
      figures: { width: 640, height: 360, fps: 12, delayMs: 140, stream: "sub", why },
    });
    const codes = ["h265", "b_frames", "no_idr", "h264_mode", "source_not_live", "unknown_stream", "never_heard_of"];
    const said = codes.map((why) => face(judge(FINE), language, given(why)));
    expect(new Set(said).size).toBe(codes.length);
    expect(said[0]).toContain(language === "pl" ? "żądany strumień to H.265" : "the stream asked for is H.265");
    for (const text of said) expect(text).not.toMatch(/why_|_live|never_heard/);
    expect(new Set([...said, face(judge(FINE), language)]).size).toBe(codes.length + 1);
  });

  it("tells size, rate and age beside the spot's picture, and everywhere what is not the camera's own", () => {
    expect(face(judge(FINE))).toContain("640×360 · 12 kl./s · 140 ms · strumień pomocniczy");
    expect(face(judge(FINE))).toContain("● na żywo · przekodowane");
    const unmeasured = { width: 640, height: 360, fps: null, delayMs: null, stream: "main", transcoded: false };
    expect(face(judge(FINE), "pl", { figures: unmeasured })).toContain("640×360033");
    const old = { ...unmeasured, delayMs: 29_246 };
    expect(face(judge(FINE), "pl", { figures: old })).toContain("640×360 · 29,2 s");
  });
});
