/**
 * The site's STUN and TURN servers, which a browser must know before it makes an offer.
 *
 * Owns what is known of them and for how long: credentials run out, and an offer with old ones has no relay. They come
 * with every answer of the server; where none are known, or they are old, they are asked for once for all tiles.
 */

import { iceServersOf } from "./sdp.ts";

/** The server makes credentials for an hour. */
export const GOOD_FOR_MS = 20 * 60_000;
const ASK_TIMEOUT_MS = 2000;

export class IceServers {
  private known: RTCIceServer[] = [];
  private atMs: number | null = null; // by the wall's clock, which goes on while a machine sleeps
  private asking: Promise<void> | null = null;

  /** For an offer about this camera. Never raises: without relays the offer is made all the same. */
  async forOffer(camera: string): Promise<RTCIceServer[]> {
    if (this.atMs === null || Math.abs(Date.now() - this.atMs) > GOOD_FOR_MS) {
      this.asking ??= this.ask(camera).finally(() => {
        this.asking = null;
      });
      await this.asking;
    }
    return this.known;
  }

  /** `link`: the `Link` header of an answer. */
  learn(link: string | null): void {
    this.known = iceServersOf(link);
    this.atMs = Date.now();
  }

  private async ask(camera: string): Promise<void> {
    try {
      const answer = await fetch(`/api/v1/whep/${camera}`, {
        method: "OPTIONS",
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
      });
      if (answer.ok) this.learn(answer.headers.get("Link"));
    } catch {
      // The offer will fare no better, and says why.
    }
  }
}
