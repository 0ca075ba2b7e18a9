// Virtual servers and IP sets, in a virtual machine whose kernel has them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInVm, whyNoVm } from '../vm/vm.ts';

test('virtual servers and IP sets are written and read', { skip: await whyNoVm() }, async () => {
  const { code, output } = await runInVm({ command: ['scripts/node', 'test/linux/ipvs.inside.ts'] });
  assert.equal(code, 0, output);
});
