// Encryption between nodes: in a machine with Debian's kernel, because few kernels of test machines have WireGuard.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { bundle } from '../vm/bundle.ts';
import { runInVm, whyNoVm } from '../vm/vm.ts';

test('encrypted between nodes: see encryption.inside.ts', { skip: await whyNoVm() }, async (t) => {
  const folder = mkdtempSync('/tmp/wt-encryption-');
  t.after(() => rmSync(folder, { recursive: true }));
  const [script = '', agent = ''] = await bundle(['test/fabric/encryption.inside.ts', 'test/cni/agent.ts'], folder);
  const { code, output } = await runInVm({
    modules: ['wireguard', 'vxlan'],
    command: ['scripts/node', script],
    environment: { WEFT_LAB_AGENT: agent },
    memoryMegabytes: 2048,
    timeoutSeconds: 240,
  });
  if (process.env.WEFT_LOG === 'debug') console.log(output);
  assert.equal(code, 0, output);
});
