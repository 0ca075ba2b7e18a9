// A Corefile, read: every plugin with its options, or every line that cannot be followed. Pure but for files it names.
import { type Directive, type ImportFiles, type RawBlock, readBlocks } from './blocks.ts';
import { readCache } from './cache.ts';
import type { ListenAddress, LogOptions, ServerBlock, ServerConfig } from './config.ts';
import { type ReadFile, readForward } from './forward.ts';
import { readHosts } from './hosts.ts';
import { readKubernetes } from './kubernetes.ts';
import { type Patterns, readRewrite } from './rewrite.ts';
import { CorefileError, type Problem, tokenize } from './tokens.ts';
import { expectArguments, readDuration, readWord } from './values.ts';
import { readName, readServerKey } from './zones.ts';

export interface CorefileSource {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Reads the PEM files that `tls` names. */
  readonly readFile?: ReadFile;
  /** The files that the pattern of an `import` names; undefined where files of that folder cannot be imported. */
  readonly importFiles?: (pattern: string) => readonly ImportedFile[] | undefined;
}

export interface ImportedFile {
  readonly name: string;
  readonly text: string;
}

export type CorefileReading =
  | { readonly config: ServerConfig; readonly warnings: readonly Problem[] }
  | { readonly config: undefined; readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

/** Does something, and notes the problem where it fails; `origin` is where an imported file has it. */
type Attempt = <T>(work: () => T, origin?: string) => T | undefined;
type Source = CorefileSource & { readonly patterns: Patterns };
type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Block = Mutable<ServerBlock> & {
  forwards: ServerBlock['forwards'][number][];
  rewrites: ServerBlock['rewrites'][number][];
  logs: LogOptions[];
};

/** Plugins without a meaning here: the answers are the same without them. */
const withoutEffect: Readonly<Record<string, string>> = {
  bind: 'the server listens on the addresses that Weft has given it',
  bufsize: 'answers over UDP have at most 1232 octets',
  cancel: 'questions end by themselves',
  debug: 'there is nothing to switch',
  metadata: 'no plugin here uses it',
  minimal: 'answers are small already',
  nsid: 'the server does not name itself',
  pprof: 'this is no Go program',
  root: 'paths of files are absolute',
  timeouts: 'idle connections end after 10 s',
  trace: 'questions are shown by ./weft dns log',
};

/** Reads a Corefile; where something cannot be followed, all of its problems and no configuration. */
export async function readCorefile(text: string, source: CorefileSource = {}): Promise<CorefileReading> {
  const patterns = /\b(regex|answer)\b/.test(text) ? (await import('./regex.ts')).compileRegex : noPatterns;
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const attempt: Attempt = (work, origin) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof CorefileError)) throw error;
      problems.push({ line: error.line, text: error.message + (origin === undefined ? '' : ` (${origin})`) });
      return undefined;
    }
  };
  const { environment = {}, importFiles = () => undefined } = source;
  const files: ImportFiles = (pattern, line) =>
    importFiles(pattern)?.map((file) =>
      tokenize(file.text, environment).map((token) => ({ ...token, line, origin: `${file.name}:${token.line}` })),
    );
  const raw = attempt(() => readBlocks(tokenize(text, environment), warnings, files)) ?? [];
  const blocks = raw.flatMap((block) => readBlock(block, { ...source, patterns }, attempt, warnings));
  attempt(() => checkOverlap(blocks));
  if (raw.length === 0 && problems.length === 0) problems.push({ line: 1, text: 'there is no server block' });
  return problems.length > 0 ? { config: undefined, problems, warnings } : { config: { blocks }, warnings };
}

/** A block for each port that its keys name. */
function readBlock(raw: RawBlock, source: Source, attempt: Attempt, warnings: Problem[]): ServerBlock[] {
  const keys = raw.keys.flatMap(({ text, line }) => attempt(() => readServerKey(text, line)) ?? []);
  const zones = [...new Set(keys.flatMap((key) => key.zones))];
  const block: Block = {
    zones,
    port: 0,
    line: raw.line,
    forwards: [],
    rewrites: [],
    logs: [],
    loop: false,
    loadbalance: false,
    autopath: false,
    errors: false,
    any: false,
    whoami: false,
  };
  const seen = new Set<string>();
  for (const directive of raw.directives)
    attempt(() => {
      if (seen.has(directive.name) && !repeatable.has(directive.name))
        throw new CorefileError(directive.line, `${directive.name} stands twice in one server block`);
      seen.add(directive.name);
      readDirective(directive, block, source, warnings);
    }, directive.origin);
  return [...new Set(keys.map(({ port }) => port))].map((port) => ({
    ...block,
    port,
    zones: [...new Set(keys.filter((key) => key.port === port).flatMap((key) => key.zones))],
  }));
}

const repeatable = new Set(['forward', 'rewrite', 'log', 'template']);

function readDirective(directive: Directive, block: Block, source: Source, warnings: Problem[]): void {
  const { name, line } = directive;
  const readFile = source.readFile ?? refuse;
  switch (name) {
    case 'kubernetes':
      block.kubernetes = readKubernetes(directive, block.zones, warnings);
      break;
    case 'forward':
      block.forwards.push(readForward(directive, readFile, warnings));
      break;
    case 'cache':
      block.cache = readCache(directive);
      break;
    case 'hosts':
      block.hosts = readHosts(directive);
      break;
    case 'rewrite':
      block.rewrites.push(readRewrite(directive, source.patterns));
      break;
    case 'log':
      block.logs.push(readLog(directive));
      break;
    case 'health':
      block.health = readHealth(directive);
      break;
    case 'ready':
      block.ready = readAddress(directive, 8181, warnings);
      break;
    case 'prometheus':
      block.prometheus = readAddress(directive, 9153, warnings);
      break;
    case 'multisocket':
      block.multisocket = readMultisocket(directive);
      break;
    case 'reload':
      expectArguments(directive, 0, 2);
      for (const text of directive.args) readDuration(directive, text);
      break;
    case 'loadbalance':
      expectArguments(directive, 0, 1);
      readWord(directive, directive.args[0] ?? 'round_robin', ['round_robin']);
      block.loadbalance = true;
      break;
    case 'autopath':
      if (directive.args.at(-1) !== '@kubernetes')
        throw new CorefileError(line, 'autopath: only @kubernetes is supported');
      block.autopath = true;
      break;
    case 'errors':
      if (directive.options.some((option) => option.name === 'consolidate'))
        warnings.push({ line, text: 'errors: equal failures are always written once a minute at most' });
      block.errors = true;
      break;
    case 'chaos':
      block.chaos = { version: directive.args[0] ?? 'Weft', authors: directive.args.slice(1) };
      break;
    case 'loop':
    case 'any':
    case 'whoami':
      expectArguments(directive, 0);
      block[name] = true;
      break;
    default: {
      const why = withoutEffect[name];
      if (why === undefined) throw new CorefileError(line, `the plugin ${name} is not supported`);
      warnings.push({ line, text: `${name} has no effect: ${why}` });
    }
  }
}

const noPatterns: Patterns = (source) => {
  throw new Error(`the pattern ${source} was not expected`);
};

const refuse = (path: string): string => {
  throw new Error(`${path} is not read here`);
};

/** `log [NAMES…] [FORMAT]`; the format is recognised by its braces. */
function readLog({ args, options, line }: Directive): LogOptions {
  const names = args.filter((word) => !word.includes('{'));
  const [format = '{common}', ...others] = args.filter((word) => word.includes('{'));
  if (others.length > 0) throw new CorefileError(line, 'log: there is more than one format');
  const classes = options.flatMap((option): LogOptions['classes'] => {
    if (option.name !== 'class')
      throw new CorefileError(option.line, `log: the option ${option.name} is not supported`);
    return option.args.map((word) => readWord(option, word, ['success', 'denial', 'error', 'all'] as const));
  });
  return {
    line,
    names: names.length === 0 ? [''] : names.map((name) => readName(name, line)),
    format,
    classes: classes.length === 0 ? ['all'] : classes,
  };
}

/** `multisocket [NUM_SOCKETS]`, with CoreDNS's limits. */
function readMultisocket(directive: Directive): NonNullable<ServerBlock['multisocket']> {
  expectArguments(directive, 0, 1);
  const [text] = directive.args;
  if (text === undefined) return {};
  const sockets = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (sockets < 1 || sockets > 1024)
    throw new CorefileError(directive.line, `multisocket: '${text}' is no number of sockets from 1 to 1024`);
  return { sockets };
}

function readHealth(directive: Directive): NonNullable<ServerBlock['health']> {
  expectArguments(directive, 0, 1);
  let lameduckMs = 0;
  for (const option of directive.options) {
    if (option.name !== 'lameduck')
      throw new CorefileError(option.line, `health: the option ${option.name} is not supported`);
    expectArguments(option, 1);
    lameduckMs = readDuration(option, option.args[0] ?? '');
  }
  return { address: readListenAddress(directive, 8080), lameduckMs };
}

function readAddress(directive: Directive, otherwise: number, warnings: Problem[]): ListenAddress {
  expectArguments(directive, 0, 1);
  for (const { name, line } of directive.options)
    warnings.push({ line, text: `${directive.name}: the option ${name} has no effect` });
  return readListenAddress(directive, otherwise);
}

/** `:8080`, `127.0.0.1:8080`, `localhost:8080`. */
function readListenAddress({ name, args, line }: Directive, otherwise: number): ListenAddress {
  const [text] = args;
  if (text === undefined) return { port: otherwise };
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? '';
  if (port === undefined || Number(port) > 65_535)
    throw new CorefileError(line, `${name}: '${text}' is no address such as :${otherwise}`);
  return { ...(host !== '' && { host: host === 'localhost' ? '127.0.0.1' : host }), port: Number(port) };
}

/** Two blocks for one zone on one port: nobody could say which one answers. */
function checkOverlap(blocks: readonly ServerBlock[]): void {
  const known = new Map<string, number>();
  for (const { zones, port, line } of blocks)
    for (const zone of zones) {
      const key = `${zone}.:${port}`;
      const before = known.get(key);
      if (before !== undefined)
        throw new CorefileError(line, `${key} is served by the block of line ${before} already`);
      known.set(key, line);
    }
}
