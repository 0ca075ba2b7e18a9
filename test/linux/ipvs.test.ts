// Virtual servers and IP sets, in a virtual machine whose kernel has them.
import { test } from 'node:test';
import { passesInside } from '../vm/inside.ts';
import { whyNoVm } from '../vm/vm.ts';

test('virtual servers and IP sets are written and read: see ipvs.inside.ts', { skip: await whyNoVm() }, () =>
  passesInside('test/linux/ipvs.inside.ts', {}),
);
