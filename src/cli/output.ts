// How commands speak: steps with their durations, errors of one line, JSON.
import { stderr, stdout } from 'node:process';
import { SettingsError } from '../cluster/settings-error.ts';

/** A wrong use of the command line: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What a command that threw this ends with: a line for its user, and 2 for a wrong use, 1 for all else. */
export function failureOf(error: unknown): { readonly line: string; readonly exitCode: 1 | 2 } {
  const message = error instanceof Error ? error.message : String(error);
  return {
    line: message.trim().replaceAll(/:?\s*\n\s*/g, ': '),
    exitCode: error instanceof UsageError || error instanceof SettingsError ? 2 : 1,
  };
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** Tells the steps of some work on standard error: a moving line on a terminal, plain lines otherwise. */
export class Steps {
  readonly #terminal = stderr.isTTY === true;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;

  /** What is being done now; seen on a terminal only. */
  doing(text: string): void {
    if (!this.#terminal) return;
    this.#clear();
    const draw = (): void => {
      stderr.write(`\r\x1b[K ${frames[this.#frame++ % frames.length]} ${text}`);
    };
    draw();
    this.#timer = setInterval(draw, 100);
  }

  /** What has been done, and how long it took. */
  done(text: string, ms?: number): void {
    this.#clear();
    const mark = this.#terminal ? '\x1b[32m✓\x1b[0m' : '✓';
    stderr.write(` ${mark} ${text}${ms === undefined ? '' : ` (${formatMs(ms)})`}\n`);
  }

  end(): void {
    this.#clear();
  }

  #clear(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#terminal) stderr.write('\r\x1b[K');
  }
}

/** 0.3 s, 12 ms. */
export function formatMs(ms: number): string {
  return ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function print(text: string): void {
  stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** Rows under their headings, in columns. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length))) ?? [];
  for (const row of rows)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    );
}
