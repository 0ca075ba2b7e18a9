// Encryption between nodes: in a machine with Debian's kernel, because few kernels of test machines have WireGuard.
import { test } from 'node:test';
import { passesInside } from '../vm/inside.ts';
import { whyNoVm } from '../vm/vm.ts';

test('encrypted between nodes: see encryption.inside.ts', { skip: await whyNoVm() }, () =>
  passesInside('test/fabric/encryption.inside.ts', {
    modules: ['wireguard', 'vxlan'],
    programs: { WEFT_LAB_AGENT: 'test/cni/agent.ts' },
    memoryMegabytes: 2048,
    timeoutSeconds: 400,
  }),
);
