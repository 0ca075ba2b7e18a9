// The mode ipvs, in a virtual machine whose kernel has it.
import { test } from 'node:test';
import { passesInside } from '../vm/inside.ts';
import { whyNoVm } from '../vm/vm.ts';

const skip = await whyNoVm();
const programs = { WEFT_PROXY_PROCESS: 'test/proxy/proxy-process.ts' };

test('Services in IPVS, and Services of SCTP in all modes: see ipvs.inside.ts', { skip }, () =>
  passesInside('test/proxy/ipvs.inside.ts', { modules: ['br_netfilter', 'sctp'], programs, timeoutSeconds: 600 }),
);

test('to the mode ipvs and from it, without a failed request: see mode-change-ipvs.inside.ts', { skip }, () =>
  passesInside('test/proxy/mode-change-ipvs.inside.ts', { modules: ['br_netfilter'], programs, timeoutSeconds: 400 }),
);
