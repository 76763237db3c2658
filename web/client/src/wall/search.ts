/** Finding a camera by what a person remembers of it: number, name, street, in any letters; the order of names. Pure. */

export interface Findable {
  readonly number: number;
  readonly name: string;
  readonly street: string;
  readonly group: string;
}

const NATURAL = new Intl.Collator("pl", { numeric: true });

/** The order in which people look for names: Polish letters in their places, `Kamera 2` before `Kamera 10`. */
export function byName(a: string, b: string): number {
  return NATURAL.compare(a, b);
}

/** Small letters without diacritics; `ł`, which no decomposition knows, is `l`. */
export function fold(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/ł/g, "l");
}

/** The best first; every word of the query must be found. A number that fits exactly stands before everything. */
export function find<T extends Findable>(cameras: readonly T[], query: string, limit = 12): T[] {
  const words = fold(query).split(/\s+/).filter(Boolean);
  if (words.length === 0) return cameras.slice(0, limit);
  const found: { camera: T; score: number }[] = [];
  for (const camera of cameras) {
    let total = 0;
    for (const word of words) {
      const score = scoreOf(camera, word);
      if (score === 0) {
        total = 0;
        break;
      }
      total += score;
    }
    if (total > 0) found.push({ camera, score: total });
  }
  found.sort((a, b) => b.score - a.score || a.camera.number - b.camera.number);
  return found.slice(0, limit).map((entry) => entry.camera);
}

function scoreOf(camera: Findable, word: string): number {
  if (/^\d+$/.test(word)) {
    const wanted = Number(word);
    if (camera.number === wanted) return 100;
    if (String(camera.number).startsWith(String(wanted))) return 40;
  }
  const place = fold(`${camera.name} ${camera.street}`);
  const parts = place.split(/[^\p{L}\p{N}]+/u);
  if (parts.includes(word)) return 60;
  if (parts.some((part) => part.startsWith(word))) return 50;
  if (place.includes(word)) return 30;
  if (fold(camera.group).includes(word)) return 20;
  return word.length >= 3 && parts.some((part) => near(part, word)) ? 10 : 0;
}

/** Whether `part` begins with something one slip away from `word`: a letter more, less, or another. */
function near(part: string, word: string): boolean {
  for (const length of [word.length - 1, word.length, word.length + 1]) {
    if (oneSlip(part.slice(0, length), word)) return true;
  }
  return false;
}

function oneSlip(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  const restA = a.slice(i);
  const restB = b.slice(i);
  if (restA.slice(1) === restB.slice(1) || restA.slice(1) === restB || restA === restB.slice(1)) return true;
  return restA.length > 1 && restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2);
}
