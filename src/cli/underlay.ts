// weft underlay: the links between the nodes; cuts, slows and heals them, for tests and for learning.
import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { ClusterLayout } from '../cluster/layout.ts';
import {
  type Condition,
  changeConditions,
  describeCondition,
  endsOf,
  pairsOf,
  parseDelay,
  parseLoss,
  parseRate,
} from '../cluster/link-conditions.ts';
import { applyConditions, readConditions } from '../cluster/links.ts';
import { netnsPath } from '../linux/netns.ts';
import { existingCluster, nameOption, notRunning } from './options.ts';
import { print, printJson, printTable, UsageError } from './output.ts';

interface SlowOptions {
  readonly name: string;
  readonly rate?: string;
  readonly delay?: string;
  readonly loss?: string;
}

const one = 'a node (worker, weft-worker) or router';
const two = 'the other end; all of the subnet where it is absent';

export function underlayCommand(): Command {
  const underlay = new Command('underlay')
    .description('the links between the nodes, and what is set on them')
    .enablePositionalOptions()
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(({ name, output }: { name: string; output?: 'json' }) => show(runningLayout(name), output === 'json'));
  underlay
    .command('cut')
    .description('nothing passes between two of them (with the fabric router, pods go by way of the router)')
    .argument('<end>', one)
    .argument('[other]', two)
    .addOption(nameOption())
    .action((end: string, other: string | undefined, { name }: { name: string }) =>
      change(name, [end, other], (before) => ({ ...before, cut: true })),
    );
  underlay
    .command('slow')
    .description('limit the rate between two of them, lose packets, hold them back (this needs sch_netem)')
    .argument('<end>', one)
    .argument('[other]', two)
    .addOption(nameOption())
    .option('--rate <rate>', 'in each direction: 10mbit')
    .option('--loss <percent>', 'so many of a hundred packets')
    .option('--delay <time>', 'of each packet: 50ms')
    .action((end: string, other: string | undefined, options: SlowOptions) => {
      const added = readOptions(options);
      change(options.name, [end, other], (before) => ({ ...before, ...added }));
    });
  underlay
    .command('heal')
    .description('all links are whole again, or those that are named')
    .argument('[end]', one)
    .argument('[other]', two)
    .addOption(nameOption())
    .action((end: string | undefined, other: string | undefined, { name }: { name: string }) => {
      const layout = runningLayout(name);
      if (end !== undefined) return change(name, [end, other], () => ({}));
      applyConditions(layout, []);
      return show(layout, false);
    });
  return underlay;
}

function readOptions({ rate, delay, loss }: SlowOptions): Condition {
  if (rate === undefined && delay === undefined && loss === undefined)
    throw new UsageError('say how slow: --rate 10mbit, --loss 20, --delay 50ms');
  return {
    ...(rate !== undefined && { rate: parseRate(rate) }),
    ...(delay !== undefined && { delayMs: parseDelay(delay) }),
    ...(loss !== undefined && { lossPercent: parseLoss(loss) }),
  };
}

function runningLayout(name: string): ClusterLayout {
  const { layout } = existingCluster(name);
  if (!existsSync(netnsPath(layout.underlayNetns))) throw notRunning(name);
  return layout;
}

function change(
  name: string,
  [end, other]: readonly [string, string | undefined],
  by: (before: Condition) => Condition,
): void {
  const layout = runningLayout(name);
  applyConditions(layout, changeConditions(readConditions(layout), pairsOf(layout, end, other), by));
  show(layout, false);
}

function show(layout: ClusterLayout, asJson: boolean): void {
  const conditions = readConditions(layout);
  const subnets = layout.segments.map(({ bridge, subnets: ranges }, segment) => ({
    bridge,
    subnets: ranges,
    ends: endsOf(layout)
      .filter((end) => end.segment === segment)
      .map(({ name, port }) => ({ name, port, addresses: addressesOf(layout, name, segment) })),
  }));
  if (asJson) {
    printJson({ subnets, conditions });
    return;
  }
  printTable([
    ['BRIDGE', 'SUBNET', 'END', 'PORT', 'ADDRESS'],
    ...subnets.flatMap(({ bridge, subnets: ranges, ends }) =>
      ends.map(({ name, port, addresses }) => [bridge, ranges.join(','), name, port, addresses.join(',')]),
    ),
  ]);
  print('');
  if (conditions.length === 0) print('Every link is whole.');
  else
    printTable([
      ['BETWEEN', 'AND', 'IS'],
      ...conditions.map((condition) => [...condition.between, describeCondition(condition)]),
    ]);
}

function addressesOf(layout: ClusterLayout, name: string, segment: number): readonly string[] {
  const node = layout.nodes.find((candidate) => candidate.name === name);
  return node?.addresses ?? layout.segments[segment]?.routers ?? [];
}
