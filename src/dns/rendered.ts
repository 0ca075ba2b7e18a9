// Answers that are written already, by the octets of their question: the hot path of a server that is asked the same.

interface Kept {
  /** One for each turn of the addresses in it; written when its turn comes first. */
  readonly variants: (Buffer | undefined)[];
  turn: number;
}

const largestQuestion = 300;
const largestCount = 4096;
const largestVariants = 8;

/**
 * Keeps whole answers of the table for as long as the table is the same. The key is everything of a query but its id:
 * flags, letter case and EDNS are all in it, so that an answer fits whoever asks with the same octets.
 */
export class RenderedAnswers {
  readonly #kept = new Map<string, Kept>();
  #version = Number.NaN;

  /** The key of a query, or undefined where the query is too long to be kept. */
  key(message: Buffer, transport: 'udp' | 'tcp'): string | undefined {
    return message.length > largestQuestion ? undefined : transport + message.toString('latin1', 2);
  }

  /** The answer with the id of this query, if it was kept since the table has this version. */
  get(key: string, version: number, message: Buffer): Buffer | undefined {
    if (version !== this.#version) {
      this.#kept.clear();
      this.#version = version;
      return undefined;
    }
    const kept = this.#kept.get(key);
    const variant = kept?.variants[kept.turn];
    if (kept === undefined || variant === undefined) return undefined;
    kept.turn = (kept.turn + 1) % kept.variants.length;
    const answer = Buffer.from(variant);
    message.copy(answer, 0, 0, 2);
    return answer;
  }

  /** Keeps an answer; `turns` is how many orders of its records there are. */
  put(key: string, answer: Buffer, turns: number): void {
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      if (this.#kept.size >= largestCount) this.#kept.clear();
      kept = {
        variants: Array.from({ length: Math.max(1, Math.min(turns, largestVariants)) }, () => undefined),
        turn: 0,
      };
      this.#kept.set(key, kept);
    }
    kept.variants[kept.turn] = Buffer.from(answer);
    kept.turn = (kept.turn + 1) % kept.variants.length;
  }
}
