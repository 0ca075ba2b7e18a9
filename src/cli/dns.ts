// weft dns: the servers of the cluster and the Corefile that is in force; names looked up and explained; questions live.
import { Command, Option } from 'commander';
import { dnsAddresses } from '../cluster/layout.ts';
import { readInNode } from '../cluster/node-http.ts';
import { noUpstream } from '../dns/chain/reply.ts';
import { problemText, readConfigMap, sourceOf } from '../dns/config-map.ts';
import type { ServerBlock } from '../dns/corefile/config.ts';
import { readCorefile } from '../dns/corefile/corefile.ts';
import { hashOfCorefile, pluginNames } from '../dns/engine.ts';
import { type DnsServerStatus, dnsStatusPath, queryStreamPort } from '../dns/query-stream.ts';

import { logCommand } from './dns-log.ts';
import { lookupCommand } from './dns-lookup.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { print, printJson, printTable } from './output.ts';

export function dnsCommand(): Command {
  const dns = new Command('dns')
    .description("the cluster's DNS: its servers, the Corefile in force, names explained, questions live")
    .enablePositionalOptions()
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ name, output }: { name: string; output?: 'json' }) => show(name, output === 'json'));
  dns.addCommand(lookupCommand());
  dns.addCommand(logCommand());
  return dns;
}

interface ServerRow {
  readonly node: string;
  readonly status?: DnsServerStatus;
  /** Whether the Corefile of the ConfigMap is in force there. */
  readonly isCurrent: boolean;
}

async function show(name: string, asJson: boolean): Promise<void> {
  const { settings, layout } = existingCluster(name);
  const object = await withClient(layout, readConfigMap);
  const text = object?.data?.Corefile;
  const reading = text === undefined ? undefined : await readCorefile(text, sourceOf({ environment: {} }, object));
  const blocks = reading?.config?.blocks ?? [];
  const problems = reading !== undefined && reading.config === undefined ? reading.problems.map(problemText) : [];
  const warnings = reading?.warnings.map(problemText) ?? [];
  const hash = text === undefined ? undefined : hashOfCorefile(text);
  const servers = await Promise.all(
    layout.nodes.map(async (node): Promise<ServerRow> => {
      const status = await readStatus(node);
      return {
        node: node.name,
        ...(status && { status }),
        isCurrent: status !== undefined && status.corefile === hash,
      };
    }),
  );
  const addresses = dnsAddresses(settings);
  if (asJson) return printJson({ addresses, servers, corefile: { problems, warnings, blocks: blocks.map(blockRow) } });
  print(`DNS answers at ${addresses.join(', ')}, on each node by its own server.`);
  print('');
  printTable([['NODE', 'SERVER', 'SERVICES', 'COREFILE', 'UPSTREAMS'], ...servers.map(serverRow)]);
  print('');
  printCorefile(text, problems, warnings, blocks);
}

async function readStatus(node: Parameters<typeof readInNode>[0]): Promise<DnsServerStatus | undefined> {
  try {
    const text = await readInNode(node, { host: '127.0.0.1', port: queryStreamPort, path: dnsStatusPath });
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function serverRow({ node, status, isCurrent }: ServerRow): string[] {
  if (status === undefined) return [node, 'does not answer', '-', '-', '-'];
  const upstreams = status.upstreams.map(({ address, state }) =>
    state === 'well' ? address : `${address} (${state})`,
  );
  return [
    node,
    status.synced ? 'ready' : 'lists objects',
    `${status.services}`,
    isCurrent ? 'in force' : 'an earlier one',
    upstreams.join(', ') || '-',
  ];
}

const blockRow = (block: ServerBlock) => ({
  zones: block.zones.map((zone) => `${zone}.`),
  port: block.port,
  line: block.line,
  plugins: pluginNames(block),
});

function printCorefile(
  text: string | undefined,
  problems: readonly string[],
  warnings: readonly string[],
  blocks: readonly ServerBlock[],
): void {
  if (text === undefined) {
    print('There is no ConfigMap kube-system/coredns with a Corefile: the servers have their default one.');
    return;
  }
  if (problems.length > 0) print('The Corefile of kube-system/coredns is refused; the last good one stays in force:');
  for (const problem of problems) print(`  ${problem}`);
  for (const warning of warnings) print(`  ${warning}`);
  if (blocks.length === 0) return;
  printTable([
    ['ZONES', 'PORT', 'PLUGINS'],
    ...blocks.map(blockRow).map(({ zones, port, plugins }) => [zones.join(' '), `${port}`, plugins.join(' ')]),
  ]);
  if (blocks.some(({ forwards }) => forwards.length > 0)) return;
  print('');
  print(`Names outside of the cluster do not exist for its pods: ${noUpstream}.`);
}
