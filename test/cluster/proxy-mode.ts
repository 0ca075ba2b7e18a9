// A cluster in another proxy mode than the usual one, and the change of the mode while it runs, by the command line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Machine } from './machine.ts';

/** Tests of a cluster that was made with the mode iptables; it has the mode nftables when they are through. */
export function proxyModeTests(machine: Machine, name: string): void {
  const inWorker = (...command: string[]): Promise<string> =>
    machine.must('node', 'exec', 'worker', '--name', name, '--', ...command);
  const inPlace = async (): Promise<(string | undefined)[]> => {
    const status: { nodes: { inPlace?: string }[] } = JSON.parse(
      await machine.must('proxy', '--name', name, '-o', 'json'),
    );
    return status.nodes.map((node) => node.inPlace);
  };
  const lookUp = ['busybox', 'nslookup', 'kubernetes.default.svc.cluster.local', '10.96.0.10'];

  test("the chains of kube-proxy's iptables mode are on the nodes from the start, and Services answer", async () => {
    // The name that everybody knows from other clusters.
    assert.match(await inWorker('iptables-save', '-t', 'nat'), /^:KUBE-SVC-NPX46M4PTMTKRN6Y /m);
    assert.doesNotMatch(await inWorker('nft', 'list', 'tables'), /weft-proxy/);
    assert.match(await inWorker(...lookUp), /10\.96\.0\.1\b/);
    assert.match(await machine.must('status', '--name', name), /^Proxy mode +iptables$/m);
  });

  test('the change is in place on every node when the command returns, and nothing of the former mode is left', async () => {
    await machine.must('proxy', 'mode', 'nftables', '--name', name);
    assert.deepEqual(await inPlace(), ['nftables', 'nftables', 'nftables']);
    assert.doesNotMatch(await inWorker('iptables-save'), /KUBE-/);
    assert.match(await inWorker('nft', 'list', 'tables'), /weft-proxy/);
    assert.match(await inWorker(...lookUp), /10\.96\.0\.1\b/);
  });

  test('an agent that is killed comes back in the mode that was chosen last', async () => {
    const { processes } = await machine.status(name);
    process.kill(processes.find((one) => one.name === 'worker/agent')?.pid ?? 0, 'SIGKILL');
    assert.match(await inWorker(...lookUp), /10\.96\.0\.1\b/);
    await machine.must('proxy', 'mode', 'nftables', '--name', name);
    assert.deepEqual(await inPlace(), ['nftables', 'nftables', 'nftables']);
  });

  test('a mode that there is not is refused, and nothing has changed', async () => {
    const refused = await machine.weft('proxy', 'mode', 'userspace', '--name', name);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /^weft: proxy mode 'userspace': there is nftables, iptables, ipvs\n$/);
    assert.deepEqual(await inPlace(), ['nftables', 'nftables', 'nftables']);
  });
}
