// weft dns log: the questions that pods ask, live, from the servers of all nodes.
import { Command, InvalidArgumentError, Option } from 'commander';
import type { NodeLayout } from '../cluster/layout.ts';
import { getInNode } from '../cluster/node-http.ts';
import { type QueryLine, queryStreamPath, queryStreamPort } from '../dns/query-stream.ts';
import { JsonLines } from '../k8s/json-lines.ts';
import { pods } from '../k8s/resources.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { print } from './output.ts';

interface Options {
  readonly name: string;
  readonly follow?: boolean;
  readonly pod?: string;
  readonly namespace?: string;
  readonly count?: number;
  readonly output?: 'json';
}

export function logCommand(): Command {
  return new Command('log')
    .description('questions and answers as they happen, of all nodes; costs the servers nothing while nobody looks')
    .option('-f, --follow', 'go on until Ctrl-C (there is nothing from before: servers keep no log)')
    .option('--pod <pod>', 'only questions of this pod: web-0, NAMESPACE/web-0')
    .option('-n, --namespace <namespace>', 'only questions of pods of this namespace')
    .option('-c, --count <n>', 'end after so many questions', wholeNumber)
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable: one JSON a line').choices(['json']))
    .action(run);
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(text);
}

/** A question with who asked it and where. */
interface PodQuery extends QueryLine {
  readonly node: string;
  /** NAMESPACE/NAME; absent where the address is none of a pod. */
  readonly pod?: string;
}

async function run(options: Options): Promise<void> {
  const { layout } = existingCluster(options.name);
  await withClient(layout, async (client) => {
    const podCache = client.cache(pods);
    await podCache.synced;
    const podAt = (address: string): string | undefined => {
      const found = podCache
        .list()
        .find(({ status, spec }) => spec?.hostNetwork !== true && status?.podIPs?.some(({ ip }) => ip === address));
      return found === undefined ? undefined : `${found.metadata.namespace}/${found.metadata.name}`;
    };
    const enough = new AbortController();
    process.once('SIGINT', () => enough.abort());
    process.once('SIGTERM', () => enough.abort());
    let shown = 0;
    const take = (line: QueryLine, node: NodeLayout): void => {
      const pod = podAt(line.client);
      if (enough.signal.aborted || !isWanted(pod, options)) return;
      show({ ...line, node: node.name, ...(pod !== undefined && { pod }) }, options.output === 'json');
      if (++shown === options.count) enough.abort();
    };
    await Promise.all(layout.nodes.map((node) => follow(node, enough.signal, (line) => take(line, node))));
    podCache.stop();
  });
}

function isWanted(pod: string | undefined, { pod: wanted, namespace }: Options): boolean {
  if (wanted === undefined) return namespace === undefined || pod?.startsWith(`${namespace}/`) === true;
  return pod === (wanted.includes('/') ? wanted : `${namespace ?? 'default'}/${wanted}`);
}

const againMs = 1000;

/** Reads the stream of a node until the signal; a server that ends is waited for. */
async function follow(node: NodeLayout, signal: AbortSignal, take: (line: QueryLine) => void): Promise<void> {
  let isTold = false;
  while (!signal.aborted) {
    try {
      const url = { host: '127.0.0.1', port: queryStreamPort, path: queryStreamPath };
      const response = await getInNode(node, url);
      const stop = (): void => void response.destroy();
      signal.addEventListener('abort', stop);
      isTold = false;
      const lines = new JsonLines();
      for await (const chunk of response.setEncoding('utf8'))
        for (const line of lines.push(String(chunk))) if (isQueryLine(line)) take(line);
    } catch (error) {
      if (signal.aborted) return;
      if (!isTold) process.stderr.write(`${node.name}: its DNS server does not answer; waiting for it\n`);
      isTold = error !== undefined;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, againMs);
      const end = (): void => {
        clearTimeout(timer);
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
  }
}

function isQueryLine(value: unknown): value is QueryLine {
  return typeof value === 'object' && value !== null && 'name' in value && 'client' in value && 'rcode' in value;
}

function show(query: PodQuery, asJson: boolean): void {
  if (asJson) {
    print(JSON.stringify(query));
    return;
  }
  const { time, node, pod, client, name, type, rcode, answers, milliseconds, by, from, transport } = query;
  const result = rcode === 'NOERROR' ? `${answers} ${answers === 1 ? 'record' : 'records'}` : rcode;
  const source = from === undefined ? by : `${by} ${from}`;
  const over = transport === 'tcp' ? ' over TCP' : '';
  print(
    `${time.slice(11, 23)}  ${node}  ${pod ?? client}  ${name} ${type}${over}  →  ${result}  ${milliseconds} ms  ${source}`.trimEnd(),
  );
}
