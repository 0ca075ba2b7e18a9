// SCTP, in a virtual machine whose kernel has it.
import { test } from 'node:test';
import { passesInside } from '../vm/inside.ts';
import { whyNoVm } from '../vm/vm.ts';

test('pods and Services over SCTP: see sctp.inside.ts', { skip: await whyNoVm() }, () =>
  passesInside('test/proxy/sctp.inside.ts', {
    modules: ['sctp', 'br_netfilter'],
    programs: { WEFT_PROXY_PROCESS: 'test/proxy/proxy-process.ts' },
    timeoutSeconds: 180,
  }),
);
