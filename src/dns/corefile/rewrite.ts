// Reads the plugin rewrite of a Corefile: which questions are changed into which, and what becomes of the answers. Pure.
import type { Directive } from './blocks.ts';
import type { AnswerRule, NameMatch, RegexMatcher, RewriteRule } from './config.ts';
import { CorefileError } from './tokens.ts';
import { type Line, readClass, readRcode, readType, readWhole, readWord } from './values.ts';

/** Compiles a pattern; throws an Error that says what is wrong with it. */
export type Patterns = (source: string) => RegexMatcher;

const matchWords = ['exact', 'prefix', 'suffix', 'substring', 'regex'] as const;
const longestPattern = 1000;
const longestTtl = 2 ** 31 - 1;

/** The rule of `rewrite [continue|stop] FIELD …`, on one line or within braces. */
export function readRewrite(directive: Directive, patterns: Patterns): RewriteRule {
  const { line } = directive;
  const words = [...directive.args, ...directive.options.flatMap(({ name, args }) => [name, ...args])];
  const next = words[0] === 'continue' || words[0] === 'stop' ? words.shift() : 'stop';
  const mode = next === 'continue' ? 'continue' : 'stop';
  const kind = words.shift();
  const where = { name: `rewrite ${kind ?? ''}`, args: words, line };
  switch (kind) {
    case 'name':
      return { line, next: mode, kind, ...readNameRule(where, patterns) };
    case 'type':
      expectWords(where, 2);
      return { line, next: mode, kind, from: readType(where, words[0] ?? ''), to: readType(where, words[1] ?? '') };
    case 'class':
      expectWords(where, 2);
      return { line, next: mode, kind, from: readClass(where, words[0] ?? ''), to: readClass(where, words[1] ?? '') };
    case 'ttl': {
      const match = takeMatch(where, words, patterns);
      expectWords(where, 1);
      return { line, next: mode, kind, match, ...readTtlRange(where, words[0] ?? '') };
    }
    case 'rcode': {
      const match = takeMatch(where, words, patterns);
      expectWords(where, 2);
      return {
        line,
        next: mode,
        kind,
        match,
        from: readRcode(where, words[0] ?? ''),
        to: readRcode(where, words[1] ?? ''),
      };
    }
    default:
      throw new CorefileError(
        line,
        `rewrite: the field '${kind ?? ''}' is not supported; name, type, class, ttl and rcode are`,
      );
  }
}

function expectWords({ name, args, line }: Line, count: number): void {
  if (args.length !== count)
    throw new CorefileError(line, `${name}: ${count} more words are expected and there are ${args.length}`);
}

/** Takes `[exact|prefix|suffix|substring|regex] TEXT` from the front. */
function takeMatch(where: Line, words: string[], patterns: Patterns): NameMatch {
  const kind = matchWords.find((word) => word === words[0]);
  // A name may be called 'prefix': the word is a kind only with a text after it that is not the last one.
  if (kind !== undefined && words.length > 2) words.shift();
  const text = words.shift();
  if (text === undefined) throw new CorefileError(where.line, `${where.name}: the name to look for is missing`);
  return readMatch(where, words.length > 0 ? (kind ?? 'exact') : 'exact', text, patterns);
}

/** Names are compared with their final dot, so that `example.org.` ends a name and `sql.` is a whole label. */
function readMatch(where: Line, kind: (typeof matchWords)[number], text: string, patterns: Patterns): NameMatch {
  if (kind === 'regex') return { kind, pattern: compile(where, text, patterns) };
  const lower = text.toLowerCase();
  const whole = kind === 'exact' || kind === 'suffix';
  return { kind, text: whole && !lower.endsWith('.') ? `${lower}.` : lower };
}

function readNameRule(
  where: Line,
  patterns: Patterns,
): { match: NameMatch; to: string; answer: 'auto' | readonly AnswerRule[] } {
  const words = [...where.args];
  const match = takeMatch(where, words, patterns);
  const to = words.shift();
  if (to === undefined) throw new CorefileError(where.line, `${where.name}: the name to write is missing`);
  const rules: AnswerRule[] = [];
  while (words.length > 0) {
    readWord(where, words.shift(), ['answer']);
    const field = readWord(where, words.shift(), ['auto', 'name', 'value']);
    if (field === 'auto') {
      if (words.length > 0) throw new CorefileError(where.line, `${where.name}: nothing follows 'answer auto'`);
      return { match, to: to.toLowerCase(), answer: 'auto' };
    }
    const [from, into] = words.splice(0, 2);
    if (from === undefined || into === undefined)
      throw new CorefileError(where.line, `${where.name}: 'answer ${field}' needs a pattern and what takes its place`);
    rules.push({ field, from: compile(where, from, patterns), to: into.toLowerCase() });
  }
  return { match, to: to.toLowerCase(), answer: rules.length > 0 ? rules : 'auto' };
}

/** `30`, `10-60`, `10-` or `-60`. */
function readTtlRange(where: Line, text: string): { least: number; most: number } {
  const parts = /^(\d*)-(\d*)$/.exec(text);
  const number = (part: string | undefined, otherwise: number): number =>
    part === undefined || part === '' ? otherwise : readWhole(where, part, 0, longestTtl);
  if (parts === null) {
    const seconds = readWhole(where, text, 0, longestTtl);
    return { least: seconds, most: seconds };
  }
  const range = { least: number(parts[1], 0), most: number(parts[2], longestTtl) };
  if (range.least > range.most) throw new CorefileError(where.line, `${where.name}: '${text}' is no range of seconds`);
  return range;
}

function compile(where: Line, source: string, patterns: Patterns): RegexMatcher {
  if (source.length > longestPattern)
    throw new CorefileError(where.line, `${where.name}: a pattern has at most ${longestPattern} characters`);
  try {
    return patterns(source);
  } catch (error) {
    throw new CorefileError(where.line, `${where.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
