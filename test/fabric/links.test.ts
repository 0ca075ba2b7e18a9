// Cut, lossy and slow links between namespaces on a bridge.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { layoutOf } from '../../src/cluster/layout.ts';
import { linksTable, planConditions } from '../../src/cluster/link-conditions.ts';
import { ensureNetwork } from '../../src/cluster/network.ts';
import { netnsOf } from '../../src/cluster/remove.ts';
import { decideSettings } from '../../src/cluster/settings.ts';
import { deleteNamedNetns, netnsPath } from '../../src/linux/netns.ts';
import { commitIn } from '../../src/linux/nft-namespace.ts';
import { setClasses } from '../../src/linux/shaping.ts';
import { runIn } from '../cni/lab.ts';
import { probe, startServer } from './probe.ts';

const name = `wt-l${process.pid.toString(36)}`;
const settings = decideSettings({ name, nodes: 3 });
const layout = layoutOf(settings);
const [a, b, c] = layout.nodes;
const ends: (() => void)[] = [];

before(async () => {
  ensureNetwork(settings, layout);
  for (const node of layout.nodes) ends.push((await startServer(node.name, node.addresses)).stop);
});
after(() => {
  for (const end of ends) end();
  for (const netns of netnsOf(name)) deleteNamedNetns(netns);
});

function set(conditions: Parameters<typeof planConditions>[1]): void {
  const { chains, classes } = planConditions(layout, conditions);
  const netns = netnsPath(layout.underlayNetns);
  commitIn(netns, linksTable, { replace: { sets: [] }, chains, removed: [], added: [] });
  for (const [port, list] of classes) setClasses(netns, port, list);
}

/** Whether a TCP connection comes about within half a second. */
function connects(from: typeof a, to: typeof a): boolean {
  const program = 'exit !IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 7777, Timeout => 0.5)';
  try {
    runIn(from?.name ?? '', 'perl', '-MIO::Socket::IP', '-e', program, to?.addresses[0] ?? '');
    return true;
  } catch {
    return false;
  }
}

/** Whether a TCP connection and the rest come through, and how long that took in ms. */
async function reach(from: typeof a, to: typeof a): Promise<{ readonly ok: boolean; readonly ms: number }> {
  assert.ok(from && to);
  const begin = performance.now();
  const [line = ''] = await probe(from.name, [{ host: to.addresses[0], mtu: 100 }]);
  return { ok: !line.includes('FAILED'), ms: performance.now() - begin };
}

test('a link that is whole carries, one that is cut does not, and others are not touched', () => {
  assert.ok(b && c);
  assert.ok(connects(b, c));
  set([{ between: [b.name, c.name], cut: true }]);
  assert.deepEqual([connects(b, c), connects(b, a)], [false, true]);
  set([]);
  assert.ok(connects(b, c));
});

test('a slow link takes its time: 265,000 bytes each way', async () => {
  assert.ok(b && c);
  set([{ between: [b.name, c.name], rate: 4e6 }]);
  const { ok, ms } = await reach(b, c);
  assert.equal(ok, true);
  assert.ok(ms > 600, `${ms} ms`);
  const other = await reach(b, a);
  assert.ok(other.ms < ms / 2, `${other.ms} ms past ${ms} ms`);
});
