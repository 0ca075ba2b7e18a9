// Services on one cluster of three nodes, in the order of the parts: the proxy mode, what `weft service` shows,
// and requests that go on while all is changed.
import { rmSync } from 'node:fs';
import { after, before } from 'node:test';
import { Machine } from './machine.ts';
import { proxyModeTests } from './proxy-mode.ts';
import { requestTests } from './requests.ts';
import { serviceCommandTests } from './service-command.ts';

const machine = new Machine();
const name = 'wtsv';

before(async () => {
  await machine.must('up', '--name', name, '--proxy-mode', 'iptables', '--external-ips');
});
after(async () => {
  await machine.weft('down', '--name', name);
  rmSync(machine.home, { recursive: true, force: true });
});

proxyModeTests(machine, name);
serviceCommandTests(machine, name);
requestTests(machine, name);
