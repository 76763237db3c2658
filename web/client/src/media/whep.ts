/**
 * One WHEP session: offer, answer, end. Owns one RTCPeerConnection and the resource the server made for it.
 *
 * Owns no retry and no judgement; a session is used once. Extensions and preferences are asked for before the offer;
 * candidates are not trickled (the draft lets the server refuse that) and not waited for: the server finds the browser by
 * where its checks come from, a relay's address like any other.
 */

import { IceServers } from "./iceServers.ts";
import { withoutLocalNames } from "./sdp.ts";
import type { CaptureSource } from "./captureClock.ts";

export type StreamKind = "main" | "sub";

/** Why a session could not be opened; `code` is the problem's, or one of ours where no answer came. */
export class WhepRefused extends Error {
  readonly code: string;
  readonly retryAfterMs: number | null;

  constructor(code: string, retryAfterMs: number | null) {
    super(code);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** `later`, `never`: the other stream cannot be shown now or at all, this one goes on. `broken`: only another session helps. */
export type Switched = "done" | "later" | "never" | "broken";

export interface WhepAnswer {
  readonly stream: StreamKind | null;
  readonly transcoded: boolean;
  /** In the server's word, why it is not the stream that was asked for, as it is; null: it is. */
  readonly why: string | null;
}

export interface WhepRequest {
  readonly camera: string;
  readonly stream: StreamKind;
  readonly purpose: string | null;
  readonly csrf: () => string;
  readonly onTrack: (stream: MediaStream) => void;
  readonly onState: (state: RTCPeerConnectionState) => void;
}

export interface FrameCounts {
  /** Of one clock, ms. */
  readonly atMs: number;
  readonly received: number;
  readonly decoded: number;
  readonly dropped: number;
  readonly decodeSeconds: number;
  readonly freezes: number;
}

const ANSWER_TIMEOUT_MS = 8000;
const CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

interface HeaderExtension {
  uri: string;
  direction: RTCRtpTransceiverDirection;
}
interface ExtensibleTransceiver {
  getHeaderExtensionsToNegotiate?(): HeaderExtension[];
  setHeaderExtensionsToNegotiate?(extensions: HeaderExtension[]): void;
}

const iceServers = new IceServers();

export class WhepSession {
  private readonly request: WhepRequest;
  private peer: RTCPeerConnection | null = null;
  private readonly abort = new AbortController();
  private location: string | null = null;
  private receiver: RTCRtpReceiver | null = null;
  private closed = false;

  constructor(request: WhepRequest) {
    this.request = request;
  }

  /** The server's name for it, once it exists. */
  get id(): string | null {
    return this.location?.split("/").pop() ?? null;
  }

  /** Opens the session, or raises WhepRefused. Closing it meanwhile ends the server's side too. */
  async open(): Promise<WhepAnswer> {
    const { request } = this;
    const servers = await iceServers.forOffer(request.camera);
    if (this.closed) throw new WhepRefused("closed", null);
    const peer = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    const transceiver = peer.addTransceiver("video", { direction: "recvonly" });
    this.receiver = transceiver.receiver;
    askForCaptureTime(transceiver as ExtensibleTransceiver);
    preferOurCodecs(transceiver);
    askForNoBuffer(transceiver.receiver);
    const stream = new MediaStream([transceiver.receiver.track]);
    peer.addEventListener("connectionstatechange", () => {
      if (!this.closed) request.onState(peer.connectionState);
    });
    await peer.setLocalDescription(await peer.createOffer());
    const response = await this.post(withoutLocalNames(peer.localDescription?.sdp ?? ""));
    this.location = response.headers.get("Location");
    const answer = await response.text().catch(() => {
      throw new WhepRefused("server_away", null);
    });
    if (this.closed) {
      this.end(); // closed while the server was answering: the resource exists and nobody else knows of it
      throw new WhepRefused("closed", null);
    }
    iceServers.learn(response.headers.get("Link"));
    try {
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
    } catch {
      throw new WhepRefused("answer_malformed", null);
    }
    request.onTrack(stream);
    const named = response.headers.get("Stroz-Stream");
    return {
      stream: named === "main" || named === "sub" ? named : null,
      transcoded: response.headers.get("Stroz-Transcoded") === "1",
      why: response.headers.get("Stroz-Why"),
    };
  }

  /** Asks the server to send the other stream within the same track. */
  async switchTo(stream: StreamKind): Promise<Switched> {
    if (this.location === null || this.closed) return "broken";
    try {
      const response = await fetch(`${this.location}/stream`, {
        method: "PUT",
        headers: { "Content-Type": "application/json", "X-CSRF-Token": this.request.csrf() },
        body: JSON.stringify({ stream }),
        signal: AbortSignal.any([this.abort.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]),
      });
      if (response.ok) return "done";
      const { code } = await refusalOf(response);
      // A session that was opened for this stream was answered with another because of what the stream is.
      const mayBeOffered = this.request.stream !== stream && offersH265();
      if (code === "codec_unsupported") return mayBeOffered ? "broken" : "never";
      if (code === "no_such_stream") return "never";
      return response.status === 404 ? "broken" : "later";
    } catch {
      return "later";
    }
  }

  /** The latest frame's times, for `captureMs`. */
  captureSource(): CaptureSource | undefined {
    return this.receiver?.getSynchronizationSources()[0] as CaptureSource | undefined;
  }

  async counts(): Promise<FrameCounts | null> {
    if (this.closed || this.receiver === null) return null;
    const report = await this.receiver.getStats();
    for (const entry of report.values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        return {
          atMs: entry.timestamp,
          received: entry.framesReceived ?? 0,
          decoded: entry.framesDecoded ?? 0,
          dropped: entry.framesDropped ?? 0,
          decodeSeconds: entry.totalDecodeTime ?? 0,
          freezes: entry.freezeCount ?? 0,
        };
      }
    }
    return null;
  }

  /** Ends it on both sides. The request outlives the page (`keepalive`). */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.abort.abort();
    this.peer?.close();
    this.end();
  }

  private end(): void {
    if (this.location === null) return;
    const location = this.location;
    this.location = null;
    void fetch(location, {
      method: "DELETE",
      keepalive: true,
      headers: { "X-CSRF-Token": this.request.csrf() },
    }).catch(() => undefined); // the server ends it by itself once consent expires
  }

  private async post(offer: string): Promise<Response> {
    const { camera, stream, purpose, csrf } = this.request;
    const query = new URLSearchParams({ stream, ...(purpose !== null && { purpose }) });
    let response: Response;
    try {
      response = await fetch(`/api/v1/whep/${camera}?${query}`, {
        method: "POST",
        headers: { "Content-Type": "application/sdp", Accept: "application/sdp", "X-CSRF-Token": csrf() },
        body: offer,
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
    } catch {
      throw new WhepRefused("server_away", null);
    }
    if (response.status === 201) return response;
    throw await refusalOf(response);
  }
}

async function refusalOf(response: Response): Promise<WhepRefused> {
  const problem = (await response.json().catch(() => ({}))) as { code?: string; retry_after?: number };
  const seconds = Number(response.headers.get("Retry-After") ?? problem.retry_after ?? Number.NaN);
  return new WhepRefused(problem.code ?? `http_${response.status}`, Number.isFinite(seconds) ? seconds * 1000 : null);
}

function askForCaptureTime(transceiver: ExtensibleTransceiver): void {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.();
  if (!extensions) return;
  for (const extension of extensions) if (extension.uri === CAPTURE_TIME) extension.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate?.(extensions);
}

/** Another session might be answered with it. */
function offersH265(): boolean {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return codecs.some((codec) => /^video\/h265$/i.test(codec.mimeType));
}

/** A camera sends H.264 or H.265; offering more only makes the offer longer. */
function preferOurCodecs(transceiver: RTCRtpTransceiver): void {
  const all = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const ours = all.filter((codec) => /^video\/(h264|h265|rtx)$/i.test(codec.mimeType));
  if (ours.some((codec) => /h264/i.test(codec.mimeType))) transceiver.setCodecPreferences(ours);
}

function askForNoBuffer(receiver: RTCRtpReceiver): void {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
}
