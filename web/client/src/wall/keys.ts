/** Keys that mean something only one after another: digits then Enter, W or G then one more. Pure but for the caller's time. */

const FORGET_AFTER_MS = 2500;
const MOST_DIGITS = 6;

export type Stroke =
  | { readonly kind: "none" }
  | { readonly kind: "pending"; readonly shown: string }
  | { readonly kind: "number"; readonly number: number }
  | { readonly kind: "window"; readonly number: number }
  | { readonly kind: "go"; readonly letter: string };

export class KeySequence {
  private prefix: "" | "w" | "g" = "";
  private digits = "";
  private atMs = Number.NEGATIVE_INFINITY;

  /** What is begun and not ended, for the screen to show. */
  get shown(): string {
    return this.prefix.toUpperCase() + this.digits;
  }

  clear(): void {
    this.prefix = "";
    this.digits = "";
  }

  /** `code` is the key's place, `KeyboardEvent.code`: the same on every layout. */
  press(code: string, nowMs: number): Stroke {
    if (nowMs - this.atMs > FORGET_AFTER_MS) this.clear();
    this.atMs = nowMs;
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1];
    if (this.prefix === "w" && digit) {
      this.clear();
      return { kind: "window", number: Number(digit) };
    }
    if (this.prefix === "g") {
      const letter = /^Key([A-Z])$/.exec(code)?.[1];
      this.clear();
      return letter ? { kind: "go", letter } : { kind: "none" };
    }
    if (digit && this.prefix === "") {
      this.digits = (this.digits + digit).slice(-MOST_DIGITS);
      return { kind: "pending", shown: this.shown };
    }
    if ((code === "Enter" || code === "NumpadEnter") && this.digits) {
      const number = Number(this.digits);
      this.clear();
      return { kind: "number", number };
    }
    if (code === "Backspace" && this.digits) {
      this.digits = this.digits.slice(0, -1);
      return { kind: "pending", shown: this.shown };
    }
    this.clear();
    if (code === "KeyW" || code === "KeyG") {
      this.prefix = code === "KeyW" ? "w" : "g";
      return { kind: "pending", shown: this.shown };
    }
    return { kind: "none" };
  }
}

/** Whether keys now belong to a field or a dialog, not to the screen. */
export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.closest("input, textarea, select, [role=dialog], [role=listbox]") !== null)
  );
}
