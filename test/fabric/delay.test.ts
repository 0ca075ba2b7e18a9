// Links that hold packets back: in a machine whose kernel can do that; refused where it cannot.
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { layoutOf } from '../../src/cluster/layout.ts';
import { applyConditions } from '../../src/cluster/links.ts';
import { decideSettings } from '../../src/cluster/settings.ts';
import { createNamedNetns, deleteNamedNetns, netnsPath } from '../../src/linux/netns.ts';
import { canDelay } from '../../src/linux/shaping.ts';
import { passesInside } from '../vm/inside.ts';
import { whyNoVm } from '../vm/vm.ts';

test('a slow link holds packets back: see delay.inside.ts', { skip: await whyNoVm() }, () =>
  passesInside('test/fabric/delay.inside.ts', {
    modules: ['sch_netem', 'sch_htb', 'br_netfilter'],
    timeoutSeconds: 180,
  }),
);

test('where the kernel cannot hold packets back, a delay is refused and nothing is kept', (t) => {
  const layout = layoutOf(decideSettings({ name: `wt-d${process.pid.toString(36)}`, nodes: 2 }));
  createNamedNetns(layout.underlayNetns);
  t.after(() => {
    deleteNamedNetns(layout.underlayNetns);
    rmSync(layout.run, { recursive: true, force: true });
  });
  if (canDelay(netnsPath(layout.underlayNetns))) return t.skip('this kernel can');
  const between: [string, string] = [layout.nodes[0]?.name ?? '', layout.nodes[1]?.name ?? ''];
  assert.throws(() => applyConditions(layout, [{ between, delayMs: 50 }]), /has no sch_netem.*--rate, --loss and cut/);
  assert.ok(!existsSync(join(layout.run, 'links.json')));
});
