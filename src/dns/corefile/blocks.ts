// The shape of a Corefile: server blocks, their directives, snippets and imports. Knows no plugin. Pure.
import { CorefileError, type Problem, type Token } from './tokens.ts';

/** One line within the braces of a directive. */
export interface OptionLine {
  readonly name: string;
  readonly args: readonly string[];
  readonly line: number;
}

/** A plugin with its arguments and the lines within its braces. */
export interface Directive {
  readonly name: string;
  readonly args: readonly string[];
  readonly options: readonly OptionLine[];
  readonly line: number;
}

export interface RawBlock {
  /** What stands before the brace: zones, ports, schemes. */
  readonly keys: readonly { readonly text: string; readonly line: number }[];
  readonly directives: readonly Directive[];
  readonly line: number;
}

const deepestImport = 10;
const mostTokens = 100_000;
const isOpen = (token: Token | undefined): boolean => token?.text === '{' && !token.quoted;
const isClose = (token: Token | undefined): boolean => token?.text === '}' && !token.quoted;

/**
 * The server blocks of a Corefile. `warnings` takes what CoreDNS only warns of: an import whose pattern matches no
 * file. Throws a CorefileError where the braces do not fit, or a snippet is not there.
 */
export function readBlocks(tokens: readonly Token[], warnings: Problem[]): RawBlock[] {
  const snippets = new Map<string, readonly Token[]>();
  const blocks: RawBlock[] = [];
  const rest = [...tokens];
  while (rest.length > 0) {
    const first = rest[0];
    if (first === undefined) break;
    const snippet = /^\(([^()]+)\)$/.exec(first.text)?.[1];
    if (snippet !== undefined && isOpen(rest[1])) {
      snippets.set(snippet, takeBraces(rest, 1));
      continue;
    }
    if (first.text === 'import' && !first.quoted) {
      const name = rest[1]?.first === false ? rest[1].text : '';
      rest.splice(0, name === '' ? 1 : 2, ...imported(name, first.line, snippets, warnings));
      continue;
    }
    blocks.push(takeBlock(rest, snippets, warnings));
  }
  return blocks;
}

/** Takes keys and braces from the front. A file without any brace is one block: its first line are the keys. */
function takeBlock(rest: Token[], snippets: ReadonlyMap<string, readonly Token[]>, warnings: Problem[]): RawBlock {
  const line = rest[0]?.line ?? 0;
  const keys: Token[] = [];
  let more = false;
  while (rest[0] !== undefined && !isOpen(rest[0]) && (!rest[0].first || more || keys.length === 0)) {
    const [token] = rest.splice(0, 1);
    if (token === undefined) break;
    if (isClose(token)) throw new CorefileError(token.line, "'}' closes nothing that was opened");
    // A comma at the end of a line goes on with the next one.
    more = token.text.endsWith(',');
    keys.push(token);
  }
  if (keys.length === 0) throw new CorefileError(line, "a server block begins with its zones, such as '.:53 {'");
  const body = isOpen(rest[0]) ? takeBraces(rest, 0) : rest.splice(0);
  const named = keys.flatMap(({ text, line: at }) =>
    text.split(',').flatMap((part) => (part === '' ? [] : [{ text: part, line: at }])),
  );
  return { keys: named, directives: readDirectives(expand(body, snippets, warnings, 0)), line };
}

/** Takes everything up to the brace that closes the one at `index`, and gives what is within. */
function takeBraces(rest: Token[], index: number): Token[] {
  const opened = rest[index]?.line ?? 0;
  let depth = 0;
  for (let at = index; at < rest.length; at++) {
    if (isOpen(rest[at])) depth++;
    if (isClose(rest[at])) depth--;
    if (depth === 0) return rest.splice(0, at + 1).slice(index + 1, -1);
  }
  throw new CorefileError(opened, "'{' is opened here and never closed");
}

/** Puts what is imported in the place of the imports. */
function expand(
  tokens: readonly Token[],
  snippets: ReadonlyMap<string, readonly Token[]>,
  warnings: Problem[],
  depth: number,
): Token[] {
  const found: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) continue;
    if (!token.first || token.quoted || token.text !== 'import') {
      found.push(token);
      continue;
    }
    if (depth >= deepestImport) throw new CorefileError(token.line, 'imports go round in a circle');
    const name = tokens[at + 1]?.first === false ? tokens[++at]?.text : '';
    found.push(...expand(imported(name ?? '', token.line, snippets, warnings), snippets, warnings, depth + 1));
    if (found.length > mostTokens) throw new CorefileError(token.line, 'imports make the Corefile too large');
  }
  return found;
}

function imported(
  name: string,
  line: number,
  snippets: ReadonlyMap<string, readonly Token[]>,
  warnings: Problem[],
): readonly Token[] {
  const snippet = snippets.get(name);
  if (snippet !== undefined) return snippet;
  if (name === '') throw new CorefileError(line, "'import' needs the name of a snippet");
  if (!/[*?[\]]/.test(name))
    throw new CorefileError(line, `import ${name}: there is no snippet '(${name})' above; files cannot be imported`);
  warnings.push({ line, text: `import ${name}: files are not imported; put the lines into the Corefile itself` });
  return [];
}

/** A directive is a line; braces at its end hold one option a line. Lines of an imported snippet keep their numbers. */
function readDirectives(tokens: readonly Token[]): Directive[] {
  const directives: Directive[] = [];
  const rest = [...tokens];
  while (rest.length > 0) {
    const words = takeLine(rest);
    const [name] = words;
    if (name === undefined) throw new CorefileError(rest[0]?.line ?? 0, "'{' stands without a plugin before it");
    if (isClose(name)) throw new CorefileError(name.line, "'}' closes nothing that was opened");
    const options: OptionLine[] = [];
    const body = isOpen(rest[0]) ? takeBraces(rest, 0) : [];
    while (body.length > 0) {
      const [first, ...args] = takeLine(body);
      if (first === undefined)
        throw new CorefileError(body[0]?.line ?? 0, `${name.text}: '{' within an option is not understood`);
      options.push({ name: first.text, args: args.map(({ text }) => text), line: first.line });
    }
    directives.push({ name: name.text, args: words.slice(1).map(({ text }) => text), options, line: name.line });
  }
  return directives;
}

/** Takes the words of the first line, up to a brace that opens. */
function takeLine(rest: Token[]): Token[] {
  let count = 0;
  while (rest[count] !== undefined && (count === 0 || rest[count]?.first === false) && !isOpen(rest[count])) count++;
  return rest.splice(0, count);
}
