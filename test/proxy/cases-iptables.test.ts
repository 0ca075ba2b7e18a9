// The case tables in the mode iptables, with real packets.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { installedBackends } from '../../src/linux/iptables-run.ts';
import { serveCases, wrongAnswers } from './case-runner.ts';
import { caseObjects, packetCases } from './cases.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess } from './objects.ts';

const skip = installedBackends().length === 0 && 'iptables is not installed';

describe('the case tables in iptables', { timeout: 60_000, skip }, () => {
  let network: Network;
  let proxy: ProxyProcess;

  before(async () => {
    network = new Network();
    await serveCases(network);
    proxy = new ProxyProcess(network, 'iptables');
    await proxy.start(...caseObjects('iptables'));
  });
  after(() => network.remove());

  test('every question is answered as kube-proxy would, or better', async () => {
    assert.deepEqual(await wrongAnswers(network, packetCases('iptables')), []);
  });
});
