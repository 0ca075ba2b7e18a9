// The IPVS mode, in a virtual machine whose kernel has it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInVm, whyNoVm } from '../vm/vm.ts';

test('the case tables in IPVS', { skip: await whyNoVm() }, async () => {
  const { code, output } = await runInVm({
    modules: ['br_netfilter'],
    command: ['scripts/node', 'test/proxy/cases-ipvs.inside.ts'],
    timeoutSeconds: 180,
  });
  assert.equal(code, 0, output);
});

test('to the mode ipvs and from it, without a failed request', { skip: await whyNoVm() }, async () => {
  const { code, output } = await runInVm({
    modules: ['br_netfilter'],
    command: ['scripts/node', 'test/proxy/mode-change-ipvs.inside.ts'],
    timeoutSeconds: 180,
  });
  assert.equal(code, 0, output);
});
