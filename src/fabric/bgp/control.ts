// BIRD's control socket: commands and replies as birdc speaks them (doc/reply_codes of BIRD 2).
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface ReplyLine {
  /** 0xxx success, 1xxx a piece of a table, 2xxx its heading, 8xxx a runtime error, 9xxx a syntax error. */
  readonly code: number;
  readonly text: string;
}

export class BirdError extends Error {
  override readonly name = 'BirdError';
}

/** Longer than this BIRD takes for no answer unless it hangs, in ms. */
export const birdPatienceMs = 5_000;

interface Waiting {
  readonly command: string;
  readonly lines: ReplyLine[];
  readonly resolve: (lines: ReplyLine[]) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** An open connection to a BIRD process. */
export class BirdControl {
  /** Resolves when the connection has ended: with BIRD, or by close(). */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  readonly #patienceMs: number;
  /** Called with each line that BIRD tells unasked (after the command `echo`). */
  onTold: (line: string) => void = () => {};
  #ended = false;

  private constructor(socket: Socket, patienceMs: number) {
    this.#socket = socket;
    this.#patienceMs = patienceMs;
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => this.#read(line));
    // It repeats the errors of its socket.
    lines.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#ended = true;
        this.#fail('BIRD has ended the connection');
        resolve();
      });
    });
    socket.on('error', () => {});
  }

  /** Connects and awaits BIRD's greeting. Throws a BirdError where nobody answers there. */
  static async connect(path: string, patienceMs = birdPatienceMs): Promise<BirdControl> {
    const socket = connect(path);
    const control = new BirdControl(socket, patienceMs);
    await control.#await('(greeting)');
    return control;
  }

  /** The lines of the reply. Throws a BirdError for an error reply, and where none comes. */
  async command(command: string): Promise<readonly ReplyLine[]> {
    if (this.#ended) throw new BirdError('the connection to BIRD has ended');
    if (/[\r\n]/.test(command)) throw new RangeError('a command is one line');
    const reply = this.#await(command);
    this.#socket.write(`${command}\n`);
    return reply;
  }

  close(): void {
    this.#socket.destroy();
  }

  #await(command: string): Promise<ReplyLine[]> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(`BIRD does not answer '${command}'`);
        this.#socket.destroy();
      }, this.#patienceMs);
      this.#waiting.push({ command, lines: [], resolve, reject, timer });
    });
  }

  #fail(message: string): void {
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(new BirdError(message));
    }
  }

  #read(line: string): void {
    // A plus sign begins what BIRD tells unasked.
    if (line.startsWith('+')) {
      this.onTold(line.slice(1));
      return;
    }
    const [current] = this.#waiting;
    if (current === undefined) return;
    const parsed = parseReplyLine(line, current.lines.at(-1)?.code);
    if (parsed === undefined) return;
    current.lines.push({ code: parsed.code, text: parsed.text });
    if (!parsed.isLast) return;
    this.#waiting.shift();
    clearTimeout(current.timer);
    if (parsed.code >= 8000) current.reject(new BirdError(`BIRD refuses '${current.command}': ${parsed.text}`));
    else current.resolve(current.lines);
  }
}

/** `1002-text` (more follows), `0000 text` (the last), or ` text` (as the line before). Undefined for anything else. */
export function parseReplyLine(
  line: string,
  codeBefore: number | undefined,
): (ReplyLine & { readonly isLast: boolean }) | undefined {
  const match = /^(\d{4})([ -])(.*)$/.exec(line);
  if (match !== null) return { code: Number(match[1]), text: match[3] ?? '', isLast: match[2] === ' ' };
  if (line.startsWith(' ') && codeBefore !== undefined) return { code: codeBefore, text: line.slice(1), isLast: false };
  return undefined;
}
