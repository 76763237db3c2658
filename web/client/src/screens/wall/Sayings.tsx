/** What an act on the wall came to: seen for a while, and read out each time. */

import { useCallback, useEffect, useRef, useState } from "react";

export const STAYS_MS = 6000;
const MOST = 3; // lines: what is said together is all seen

interface Saying {
  readonly id: number;
  readonly text: string;
}

export function useSayings(): { said: readonly Saying[]; say: (text: string) => void } {
  const [said, setSaid] = useState<readonly Saying[]>([]);
  const count = useRef(0);
  const say = useCallback((text: string) => {
    const id = count.current++;
    setSaid((before) => [...before, { id, text }].slice(-MOST));
  }, []);
  useEffect(() => {
    if (said.length === 0) return;
    const timer = setTimeout(() => setSaid((before) => before.slice(1)), STAYS_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return { said, say };
}

/** A line of its own for each, also of equal text: screen readers announce what is added, and nothing twice. */
export function Sayings({ said }: { said: readonly Saying[] }) {
  return (
    <div className="sayings" role="status" aria-atomic="false">
      {said.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  );
}
