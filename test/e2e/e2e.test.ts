// End to end: one cluster of three nodes, driven by the real kubectl. The parts run one after the other in it.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { apiErrorTests } from './api-errors.ts';
import { learnerTests } from './learner.ts';
import { networkTests } from './network.ts';
import { podTests } from './pods.ts';
import { streamingTests } from './streaming.ts';
import { cluster, kubeconfig, weft } from './tools.ts';
import { workloadTests } from './workloads.ts';

before(async () => {
  const up = await weft('up', '--name', cluster, '--nodes', '3', '--kubeconfig', kubeconfig, '--offline');
  assert.equal(up.code, 0, up.stderr + up.stdout);
});

after(async () => {
  const down = await weft('down', '--name', cluster);
  assert.equal(down.code, 0, down.stderr);
});

apiErrorTests();
networkTests();
podTests();
streamingTests();
workloadTests();
learnerTests();
