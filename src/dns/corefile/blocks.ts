// The shape of a Corefile: server blocks, their directives, snippets and imports. Knows no plugin. Pure.
import { CorefileError, type Problem, type Token } from './tokens.ts';

/** The words of each file that an import's pattern names; undefined where files of that folder cannot be imported. */
export type ImportFiles = (pattern: string, line: number) => readonly (readonly Token[])[] | undefined;

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
  /** Where it is in the file that it was imported from: `custom/log.override:3`. */
  readonly origin?: string;
}

export interface RawBlock {
  /** What stands before the brace: zones, ports, schemes. */
  readonly keys: readonly { readonly text: string; readonly line: number }[];
  readonly directives: readonly Directive[];
  readonly line: number;
}

const deepestImport = 10;
/** Beside the server blocks. */
const mostImports = 1000;
const mostTokens = 100_000;
const isOpen = (token: Token | undefined): boolean => token?.text === '{' && !token.quoted;
const isClose = (token: Token | undefined): boolean => token?.text === '}' && !token.quoted;

/** What `import` finds. */
interface Imports {
  readonly snippets: Map<string, readonly Token[]>;
  readonly files: ImportFiles;
  readonly warnings: Problem[];
}

/**
 * The server blocks of a Corefile. `warnings` takes what CoreDNS only warns of: an import whose pattern matches no
 * file. Throws a CorefileError where the braces do not fit, or a snippet is not there.
 */
export function readBlocks(tokens: readonly Token[], warnings: Problem[], files: ImportFiles = () => []): RawBlock[] {
  const snippets = new Map<string, readonly Token[]>();
  const imports = { snippets, files, warnings };
  const blocks: RawBlock[] = [];
  const rest = [...tokens];
  let imported = 0;
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
      if (++imported > mostImports) throw new CorefileError(first.line, 'imports go round in a circle');
      rest.splice(0, name === '' ? 1 : 2, ...tokensOf(name, first.line, imports));
      continue;
    }
    blocks.push(takeBlock(rest, imports));
  }
  return blocks;
}

/** Takes keys and braces from the front. A file without any brace is one block: its first line are the keys. */
function takeBlock(rest: Token[], imports: Imports): RawBlock {
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
  return { keys: named, directives: readDirectives(expand(body, imports, 0)), line };
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
function expand(tokens: readonly Token[], imports: Imports, depth: number): Token[] {
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
    found.push(...expand(tokensOf(name ?? '', token.line, imports), imports, depth + 1));
    if (found.length > mostTokens) throw new CorefileError(token.line, 'imports make the Corefile too large');
  }
  return found;
}

function tokensOf(name: string, line: number, { snippets, files, warnings }: Imports): readonly Token[] {
  const snippet = snippets.get(name);
  if (snippet !== undefined) return snippet;
  if (name === '') throw new CorefileError(line, "'import' needs the name of a snippet, or of files");
  const found = files(name, line);
  const isPattern = /[*?[\]]/.test(name);
  if (found !== undefined && found.length > 0) return found.flat();
  const reason =
    found === undefined
      ? 'files are imported from the ConfigMaps coredns (/etc/coredns/) and coredns-custom (/etc/coredns/custom/) alone'
      : 'there is no such file';
  if (!isPattern) throw new CorefileError(line, `import ${name}: there is no snippet '(${name})' above, and ${reason}`);
  if (found === undefined) warnings.push({ line, text: `import ${name}: ${reason}` });
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
    directives.push({
      name: name.text,
      args: words.slice(1).map(({ text }) => text),
      options,
      line: name.line,
      ...(name.origin !== undefined && { origin: name.origin }),
    });
  }
  return directives;
}

/** Takes the words of the first line, up to a brace that opens. */
function takeLine(rest: Token[]): Token[] {
  let count = 0;
  while (rest[count] !== undefined && (count === 0 || rest[count]?.first === false) && !isOpen(rest[count])) count++;
  return rest.splice(0, count);
}
