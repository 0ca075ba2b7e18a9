// Splits a Corefile into words: quotes, comments and environment variables, as CoreDNS reads them (Caddyfile). Pure.

/** A word and the line on which it begins, counted from 1. */
export interface Token {
  readonly text: string;
  readonly line: number;
  /** Written in quotes: then it is no brace, whatever it says. */
  readonly quoted: boolean;
  /** Whether it is the first word of its line. */
  readonly first: boolean;
  /** Where it is in the file that it was imported from; its line is that of the import then. */
  readonly origin?: string;
}

/** Something in a Corefile that cannot be followed: where, what, and what to do. */
export interface Problem {
  readonly line: number;
  readonly text: string;
}

/** A Corefile, or a part of it, that cannot be read. */
export class CorefileError extends Error {
  override readonly name = 'CorefileError';
  readonly line: number;

  constructor(line: number, text: string) {
    super(text);
    this.line = line;
  }
}

/** The name of an environment variable in `{$NAME}` or `{%NAME%}`. */
const variable = /\{\$([^{}\s]*)\}|\{%([^{}\s]*)%\}/g;

/** The words of a Corefile; throws a CorefileError for a quote without an end. */
export function tokenize(text: string, environment: Readonly<Record<string, string | undefined>>): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let at = 0;
  let first = true;
  while (at < text.length) {
    const character = text.charAt(at);
    if (/\s/.test(character)) {
      if (character === '\n') {
        line++;
        first = true;
      }
      at++;
    } else if (character === '#') {
      at = endOfLine(text, at);
    } else if (character === '"') {
      const quoted = readQuoted(text, at, line);
      tokens.push({ text: substitute(quoted.text, environment), line, quoted: true, first });
      first = false;
      line += quoted.lines;
      at = quoted.end;
    } else {
      const word = /[^\s#]+/y;
      word.lastIndex = at;
      const found = word.exec(text)?.[0] ?? '';
      tokens.push({ text: substitute(found, environment), line, quoted: false, first });
      first = false;
      at += found.length;
    }
  }
  return tokens;
}

const endOfLine = (text: string, from: number): number => {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
};

/** Only a quote is escaped within quotes; any other backslash stays, so that regular expressions can be written. */
function readQuoted(text: string, start: number, line: number): { text: string; end: number; lines: number } {
  let value = '';
  let lines = 0;
  for (let at = start + 1; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '"') return { text: value, end: at + 1, lines };
    if (character === '\n') lines++;
    if (character === '\\' && text.charAt(at + 1) === '"') at++;
    value += text.charAt(at);
  }
  throw new CorefileError(line, 'a quote is opened here and never closed');
}

/** A variable that is not set is empty, as in CoreDNS. What a variable holds is not read again. */
function substitute(text: string, environment: Readonly<Record<string, string | undefined>>): string {
  if (!text.includes('{$') && !text.includes('{%')) return text;
  return text.replace(variable, (_, unix?: string, windows?: string) => environment[unix ?? windows ?? ''] ?? '');
}
