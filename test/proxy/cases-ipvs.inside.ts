// The case tables in the mode ipvs, with real packets; run in a virtual machine by ipvs.test.ts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { serveCases, wrongAnswers } from './case-runner.ts';
import { caseObjects, type PacketCase, packetCases } from './cases.ts';
import { withDifferences } from './ipvs-differences.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess } from './objects.ts';

describe('the case tables in IPVS', () => {
  let network: Network;
  let proxy: ProxyProcess;

  before(async () => {
    network = new Network();
    await serveCases(network);
    proxy = new ProxyProcess(network, 'ipvs');
    await proxy.start(...caseObjects('ipvs'));
  });
  after(() => network.remove());

  test('every question is answered as in the other modes, but for the documented differences', async () => {
    const cases = oneWayEach(withDifferences(packetCases('ipvs')));
    assert.deepEqual(await wrongAnswers(network, cases, { leastAsked: 2, atOnce: 3 }), []);
  });
});

/** The machine is slow: each question in one of its four ways (TCP or UDP, IPv4 or IPv6), a different one each time. */
function oneWayEach(cases: readonly PacketCase[]): PacketCase[] {
  const questions = new Map<string, PacketCase[]>();
  for (const one of cases) {
    const question = one.title.slice(0, one.title.lastIndexOf(' over '));
    questions.set(question, [...(questions.get(question) ?? []), one]);
  }
  return [...questions.values()].flatMap((ways, index) => ways[index % ways.length] ?? []);
}
