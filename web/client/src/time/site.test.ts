import { describe, expect, it } from "vitest";
import { differs, duration, parseUtc, SiteZone } from "./site.ts";

const warsaw = new SiteZone("Europe/Warsaw");
const at = (text: string) => Date.parse(text);

describe("the site's time", () => {
  it("is the site's, not this machine's", () => {
    expect(warsaw.clock(at("2026-07-01T10:00:00Z"))).toBe("12:00:00");
    expect(warsaw.stamp(at("2026-12-31T23:30:00Z"))).toBe("2027-01-01 00:30:00");
  });

  it("tells the two half past two of the autumn night apart", () => {
    expect(warsaw.clock(at("2026-10-25T00:30:00Z"))).toBe("02:30:00 CEST");
    expect(warsaw.clock(at("2026-10-25T01:30:00Z"))).toBe("02:30:00 CET");
  });

  it("names the zone within three hours of a change and not beyond", () => {
    expect(warsaw.clock(at("2027-03-27T21:59:00Z"))).toBe("22:59:00");
    expect(warsaw.clock(at("2027-03-28T00:59:59Z"))).toBe("01:59:59 CET");
    expect(warsaw.clock(at("2027-03-28T01:00:00Z"))).toBe("03:00:00 CEST");
    expect(warsaw.clock(at("2027-03-28T04:15:00Z"))).toBe("06:15:00");
  });

  it("shows tenths without rounding up", () => {
    expect(warsaw.clock(at("2026-07-01T10:00:00.999Z"), { tenths: true })).toBe("12:00:00,9");
  });

  it("knows a workstation in another zone, also one that agrees for half the year only", () => {
    const now = at("2026-11-21T12:00:00Z");
    expect(differs(warsaw, "America/New_York", now)).toBe(true);
    expect(differs(warsaw, "Africa/Lagos", now)).toBe(true);
    expect(differs(warsaw, "Europe/Berlin", now)).toBe(false);
    expect(differs(warsaw, "Nowhere/At_All", now)).toBe(true);
  });

  it("writes durations in two units", () => {
    expect([duration(59_999), duration(357_000), duration(7_440_000), duration(270_000_000)]).toEqual([
      "59 s",
      "5 min 57 s",
      "2 h 4 min",
      "3 d 3 h",
    ]);
  });

  it("takes no time from what is none", () => {
    expect([parseUtc(null), parseUtc(""), parseUtc("soon")]).toEqual([null, null, null]);
  });

  it("says since when by the clock alone only where it is of today", () => {
    const now = Date.parse("2026-11-21T23:30:00Z"); // half past midnight of the 22nd
    expect(warsaw.clockOrStamp(now - 1_200_000, now)).toBe("00:10:00");
    expect(warsaw.clockOrStamp(now - 2_400_000, now)).toBe("2026-11-21 23:50:00");
  });
});
