import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, Service } from '../k8s/types.generated.ts';
import { choiceOf, choiceProblems, weightsOf } from './endpoint-choice.ts';

const service = (annotations: Record<string, string>): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default', annotations },
  spec: {},
});
const pod = (name: string, ip = '10.244.1.2'): Endpoint => ({ addresses: [ip], targetRef: { kind: 'Pod', name } });
const weights = 'weft.dev/endpoint-weights';

test('an endpoint has the weight of its address, its pod, or of the longest beginning of the name of its pod', () => {
  const of = weightsOf(service({ [weights]: 'web-v1=9, web-v1-x7=3,10.244.9.9=0,fd44::9=7,web-0=5' }));
  assert.equal(of(pod('web-v1-abcde-12345')), 9);
  assert.equal(of(pod('web-v1-x7-12345')), 3);
  assert.equal(of(pod('web-v1-x7-12345', '10.244.9.9')), 0);
  assert.equal(of(pod('web-0')), 5);
  assert.equal(of(pod('web-v11-abcde')), 1);
  assert.equal(of({ addresses: ['fd44::9'] }), 7);
  assert.equal(of({ addresses: ['10.244.1.2'], targetRef: { kind: 'Node', name: 'web-v1' } }), 1);
});

test('without a list, or with a wrong one, all endpoints weigh the same', () => {
  for (const text of ['', 'web', 'web=', 'web=-1', 'web=1.5', 'web=1001', 'web=9;other=1', 'we b=1'])
    assert.equal(weightsOf(service({ [weights]: text }))(pod('web-1')), 1, text);
});

test('the choice is random, or by client address', () => {
  const of = (choice: string) => choiceOf(service({ 'weft.dev/endpoint-choice': choice }));
  assert.deepEqual(
    [choiceOf(service({})), of('random'), of('client-address'), of('maglev')],
    ['random', 'random', 'client-address', 'random'],
  );
});

test('what is wrong is named with its value and what could be there', () => {
  assert.deepEqual(choiceProblems(service({})), []);
  assert.deepEqual(choiceProblems(service({ 'weft.dev/endpoint-choice': 'client-address', [weights]: 'a=1,b=0' })), []);
  assert.deepEqual(choiceProblems(service({ 'weft.dev/endpoint-choice': 'maglev', [weights]: 'a=1001' })), [
    "annotation weft.dev/endpoint-choice: 'maglev' is neither random nor client-address; random is used",
    "annotation weft.dev/endpoint-weights: 'a=1001' is not a list as web-v1=9,web-v2=1 with weights from 0 to 1000; all endpoints weigh the same",
  ]);
});
