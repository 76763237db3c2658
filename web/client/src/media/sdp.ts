/** What of an offer is changed before it is sent. Pure. */

/**
 * The offer without candidates named `….local`. No server can resolve those names, and each costs it the time of a
 * failed look-up; the server finds the browser by the address its packets come from.
 */
export function withoutLocalNames(sdp: string): string {
  return sdp
    .split(/(?<=\n)/)
    .filter((line) => !(line.startsWith("a=candidate:") && /\s\S+\.local\s/.test(line)))
    .join("");
}

/** ICE servers of `Link: <turn:host>; rel="ice-server"; username="u"; credential="c"` headers, as one string. */
export function iceServersOf(link: string | null): RTCIceServer[] {
  if (!link) return [];
  const servers: RTCIceServer[] = [];
  for (const part of link.split(/,\s*(?=<)/)) {
    const url = /^<([^>]+)>/.exec(part)?.[1];
    if (!url || !/;\s*rel="?ice-server"?/.test(part)) continue;
    const fact = (name: string) => new RegExp(`;\\s*${name}="([^"]*)"`).exec(part)?.[1];
    const username = fact("username");
    const credential = fact("credential");
    servers.push({ urls: url, ...(username && { username }), ...(credential && { credential }) });
  }
  return servers;
}
