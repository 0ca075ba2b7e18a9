// The families of a Service: those of the policy, those of the cluster, and what cannot be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceSpec } from '../../k8s/types.generated.ts';
import type { Family } from '../../net/address.ts';
import { fillFamilies } from './service-families.ts';

const dual: readonly Family[] = ['IPv4', 'IPv6'];
const one: readonly Family[] = ['IPv4'];

function filled(given: ServiceSpec, configured: readonly Family[], old?: ServiceSpec): ServiceSpec {
  const spec: ServiceSpec = { selector: { app: 'a' }, ...structuredClone(given) };
  assert.deepEqual(fillFamilies(spec, old, configured), []);
  return spec;
}

const faults = (given: ServiceSpec, configured: readonly Family[] = dual): string[] =>
  fillFamilies({ selector: { app: 'a' }, ...structuredClone(given) }, undefined, configured).map(
    ({ path, type, detail }) => `${path}: ${type}${detail === undefined ? '' : `: ${detail}`}`,
  );

test('families follow the policy, and are those that the cluster has', () => {
  const familiesOf = (given: ServiceSpec, configured: readonly Family[]) => filled(given, configured).ipFamilies;
  assert.deepEqual(familiesOf({}, dual), ['IPv4']);
  assert.deepEqual(familiesOf({}, ['IPv6', 'IPv4']), ['IPv6']);
  assert.deepEqual(familiesOf({ ipFamilies: ['IPv6'] }, dual), ['IPv6']);
  assert.deepEqual(familiesOf({ ipFamilyPolicy: 'PreferDualStack' }, dual), ['IPv4', 'IPv6']);
  assert.deepEqual(familiesOf({ ipFamilyPolicy: 'PreferDualStack' }, one), ['IPv4']);
  assert.deepEqual(familiesOf({ ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'] }, dual), ['IPv6', 'IPv4']);
  assert.deepEqual(familiesOf({ clusterIP: 'fd00::5', clusterIPs: ['fd00::5'] }, dual), ['IPv6']);
  const given = { ipFamilyPolicy: 'PreferDualStack', clusterIP: 'fd00::5', clusterIPs: ['fd00::5'] };
  assert.deepEqual(familiesOf(given, dual), ['IPv6', 'IPv4']);
});

test('a headless Service whose endpoints are written by hand has both families on every cluster', () => {
  const spec = filled({ clusterIP: 'None', clusterIPs: ['None'], selector: {} }, one);
  assert.deepEqual([spec.ipFamilyPolicy, spec.ipFamilies], ['RequireDualStack', ['IPv4', 'IPv6']]);
  assert.deepEqual(filled({ clusterIP: 'None', clusterIPs: ['None'] }, one).ipFamilies, ['IPv4']);
});

test('the second family goes when the policy says so and the rest is as it was', () => {
  const old = { ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv4', 'IPv6'], clusterIPs: ['10.96.0.9', 'fd00::9'] };
  const spec = filled({ ...old, clusterIP: '10.96.0.9', ipFamilyPolicy: 'SingleStack' }, dual, old);
  assert.deepEqual([spec.ipFamilies, spec.clusterIPs], [['IPv4'], ['10.96.0.9']]);
});

test('what cannot be is refused with the field and in the words of Kubernetes', () => {
  assert.deepEqual(faults({ ipFamilies: ['IPv5'] }), ['spec.ipFamilies[0]: NotSupported']);
  assert.deepEqual(faults({ ipFamilyPolicy: 'Both' }), ['spec.ipFamilyPolicy: NotSupported']);
  assert.deepEqual(faults({ ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv4', 'IPv4'] }), [
    'spec.ipFamilies[1]: Duplicate',
  ]);
  assert.deepEqual(faults({ ipFamilies: ['IPv4', 'IPv6'] }), [
    'spec.ipFamilyPolicy: Invalid: must be RequireDualStack or PreferDualStack when multiple ipFamilies are specified',
  ]);
  assert.deepEqual(faults({ clusterIP: 'fd00::1', clusterIPs: ['fd00::1'], ipFamilies: ['IPv4'] }), [
    'spec.clusterIPs[0]: Invalid: expected an IPv4 value as indicated by `ipFamilies[0]`',
  ]);
  const two = { ipFamilyPolicy: 'PreferDualStack', clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', '10.96.0.2'] };
  assert.deepEqual(faults(two), ['spec.clusterIPs: Invalid: may specify no more than one IP for each IP family']);
  assert.deepEqual(faults({ ipFamilyPolicy: 'RequireDualStack' }, one), [
    'spec.ipFamilyPolicy: Invalid: this cluster is not configured for dual-stack services',
  ]);
  assert.deepEqual(faults({ ipFamilies: ['IPv6'] }, one), [
    'spec.ipFamilies[0]: Invalid: not configured on this cluster',
  ]);
  assert.deepEqual(faults({ clusterIP: 'fd00::1', clusterIPs: ['fd00::1'] }, one), [
    'spec.clusterIPs[0]: Invalid: IPv6 is not configured on this cluster',
  ]);
});
