// A machine of its own for a test: what it runs, what it says, and that it leaves nothing behind.
import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { test } from 'node:test';
import { runInVm, whyNoVm } from './vm.ts';

const options = { skip: await whyNoVm() };

test(
  'a command runs as root under Debian’s kernel with the modules named, and its code and output come back',
  options,
  async () => {
    const script =
      'id -u; uname -r; pwd; echo "$1" >&2; cat /sys/module/wireguard/version; echo x >/tmp/weft-vm-trace; nsenter --mount=/proc/1/ns/mnt test -e /proc/version && exit 7';
    const { code, output } = await runInVm({
      modules: ['wireguard', 'ip_vs', 'sctp', 'sch_netem', 'ipip'],
      command: ['sh', '-c', script, 'sh', 'two  words; $HOME "\''],
      timeoutSeconds: 60,
    });
    assert.equal(code, 7, output);
    const [user, release, folder, argument, version] = output.split('\n');
    assert.equal(user, '0');
    assert.match(release ?? '', /-cloud-amd64$/);
    assert.equal(folder, process.cwd());
    assert.equal(argument, 'two  words; $HOME "\'');
    assert.match(version ?? '', /^1\./);
    await assert.rejects(access('/tmp/weft-vm-trace'), 'what the machine writes is not written here');
  },
);

test('the kernel loads by itself what a command asks it for, and Node.js runs', options, async () => {
  const program = [
    "const { execFileSync } = require('node:child_process');",
    "execFileSync('ip', ['netns', 'add', 'one']);",
    "execFileSync('ip', ['-n', 'one', 'link', 'add', 'wg0', 'type', 'wireguard']);",
    "execFileSync('nft', ['add table inet t; add chain inet t c { type nat hook output priority 0; }']);",
    "process.stdout.write(execFileSync('ip', ['-n', 'one', '-br', 'link', 'show', 'wg0']));",
  ].join(' ');
  const { code, output } = await runInVm({ command: ['scripts/node', '-e', program], timeoutSeconds: 60 });
  assert.equal(code, 0, output);
  assert.match(output, /wg0/);
});

test('a module that is not there is named, and the command is not run', options, async () => {
  const result = await runInVm({ modules: ['no_such_module'], command: ['echo', 'reached'], timeoutSeconds: 60 });
  assert.equal(result.code, 125);
  assert.match(result.output, /no module no_such_module/);
  assert.doesNotMatch(result.output, /reached/);
});

test('a machine that is not done in time is ended', options, async () => {
  const task = { command: ['sh', '-c', 'exec sleep 1000'], timeoutSeconds: 8 } as const;
  await assert.rejects(runInVm(task), /was not done after 8 s/);
});

test('a machine that locks up is started anew, and ended when it locks up again', options, async () => {
  const words = '<2>watchdog: BUG: soft lockup - CPU#0 stuck for 68s!';
  const task = { command: ['sh', '-c', `echo '${words}' >/dev/kmsg; exec sleep 1000`], timeoutSeconds: 60 } as const;
  await assert.rejects(runInVm(task), /the test machine locked up[\s\S]*stuck for 68s/);
});
