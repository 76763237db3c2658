import { describe, expect, it } from "vitest";
import type { StreamReport } from "../../api/model.ts";
import en from "../../i18n/en.json";
import { LANGUAGES, onStage, useStage } from "../../ui/onStage.tsx";
import { TestReport } from "./TestReport.tsx";

const FAILED: StreamReport = { stream: "main", url: "rtsp://10.0.0.5/a", ok: false, advice: [], browser: "unknown" };

function failed(code: string, facts: Record<string, string | number>, note = "", reason = "refused"): StreamReport {
  return { ...FAILED, reason, said: { code, facts, text: `${code} in English`, note } };
}

describe("a camera's test", () => {
  useStage();

  it.each(LANGUAGES)("says what happened and what to do in the reader's language (%s)", (language) => {
    const words = {
      pl: ["kamera odmawia obrazu", "10.0.0.5:554 nie ma takiego strumienia", "popraw ścieżkę w adresie"],
      en: ["the camera refuses a picture", "10.0.0.5:554 has no such stream", "correct the path in the address"],
    }[language];
    const facts = { camera: "10.0.0.5:554", method: "DESCRIBE", status: 404 };
    const { container } = onStage(
      <TestReport streams={[failed("answered_no_stream", facts, "404 Not Found")]} />,
      language,
    );
    for (const text of words) expect(container.textContent).toContain(text);
    const wire = container.querySelector('[lang="en"]');
    expect(wire?.textContent).toBe("404 Not Found");
    wire?.remove();
    expect(container.textContent).not.toContain("Not Found");
    expect(container.textContent).not.toContain("in English");
    if (language === "pl") expect(container.textContent).not.toContain(en.said.answered_no_stream.split("{{")[1]);
  });

  it.each(LANGUAGES)("names what did not come in the reader's language (%s)", (language) => {
    const facts = { camera: "10.0.0.5:554", media: "video", seconds: 4.52 };
    const { container } = onStage(
      <TestReport streams={[failed("sends_nothing_udp", facts, "", "stalled")]} />,
      language,
    );
    expect(container.textContent).toContain({ pl: "przez UDP (obraz)", en: "within 4.5 s (picture)" }[language]);
    expect(container.querySelector('[lang="en"]')).toBeNull();
  });

  it.each(LANGUAGES)("that itself came to nothing is no fault of the camera (%s)", (language) => {
    const { container } = onStage(
      <TestReport streams={[{ ...failed("test_overdue", { seconds: 45 }), reason: null }]} />,
      language,
    );
    expect(container.querySelector("h2")?.textContent).toContain(
      { pl: "test się nie udał", en: "the test failed" }[language],
    );
    expect(container.textContent).toContain({ pl: "powtórz go", en: "repeat it" }[language]);
  });

  it.each(LANGUAGES)("tells a picture that would not be recorded from one that would (%s)", (language) => {
    const sent: StreamReport = { ...FAILED, ok: true, codec: "h264", keyframes: 3 };
    const { container } = onStage(<TestReport streams={[sent, { ...sent, stream: "sub", keyframes: 0 }]} />, language);
    const [main, sub] = [...container.querySelectorAll("h2")].map((head) => head.textContent);
    expect(main).toContain({ pl: "obraz przychodzi", en: "the picture comes" }[language]);
    expect(sub).toContain({ pl: "nie da się nagrywać", en: "cannot be recorded" }[language]);
    expect(container.querySelectorAll(".note--loud").length).toBe(1);
  });
});
