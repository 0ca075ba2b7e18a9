// Tests of the rules of a cluster's address ranges.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { familyOf } from '../net/address.ts';
import { decideRanges } from './ranges.ts';
import { SettingsError } from './settings-error.ts';

const cluster = { name: 'weft', nodes: 3 };

const refused = (given: { podCidr?: unknown; serviceCidr?: unknown }, says: RegExp, nodes = 3): void =>
  assert.throws(
    () => decideRanges(given, { ...cluster, nodes }),
    (error) => error instanceof SettingsError && says.test(error.message) && !error.message.includes('\n'),
    says.source,
  );

test('one IPv4 range each is the default', () => {
  assert.deepEqual(decideRanges({}, cluster), {
    podCidrs: ['10.244.0.0/16'],
    serviceCidrs: ['10.96.0.0/16'],
    underlay: ['172.18.0.0/16'],
  });
});

test('both families, and IPv6 alone: what is not given follows the families of what is', () => {
  const dual = decideRanges({ podCidr: '10.244.0.0/16, FD00:10:244::/56' }, cluster);
  assert.deepEqual(dual.podCidrs, ['10.244.0.0/16', 'fd00:10:244::/56']);
  assert.deepEqual(dual.serviceCidrs, ['10.96.0.0/16', 'fd00:10:96::/112']);
  const main6 = decideRanges({ serviceCidr: 'fd00:1::/108,10.96.0.0/16' }, cluster);
  assert.deepEqual(main6.podCidrs, ['fd00:10:244::/56', '10.244.0.0/16']);
  assert.deepEqual(main6.underlay.map(familyOf), ['IPv6', 'IPv4']);
  const only6 = decideRanges({ podCidr: 'fd00:5::/56' }, cluster);
  assert.deepEqual(only6.serviceCidrs, ['fd00:10:96::/112']);
  assert.equal(only6.underlay.length, 1);
});

test('the LAN of IPv6 is a unique local /64 of its own for each name, the same each time', () => {
  const of = (name: string) => decideRanges({ podCidr: 'fd00:5::/56' }, { ...cluster, name }).underlay[0] ?? '';
  assert.match(of('a'), /^fd[0-9a-f:]+::\/64$/);
  assert.equal(of('a'), of('a'));
  assert.notEqual(of('a'), of('b'));
});

test('ranges that overlap are refused, and both are named', () => {
  refused({ podCidr: '10.96.0.0/12' }, /--pod-cidr 10\.96\.0\.0\/12 and --service-cidr 10\.96\.0\.0\/16 overlap/);
  refused(
    { podCidr: '172.18.0.0/16' },
    /172\.18\.0\.0\/16 and the network between the nodes 172\.18\.0\.0\/16 overlap/,
  );
  refused(
    { podCidr: '10.244.0.0/16,fd00:1::/48', serviceCidr: '10.96.0.0/16,fd00:1:0:1::/112' },
    /--pod-cidr fd00:1::\/48 and --service-cidr fd00:1:0:1::\/112 overlap/,
  );
});

test('ranges that mean something else to every Linux are refused', () => {
  refused({ podCidr: '127.0.0.0/8' }, /127\.0\.0\.0\/8 and the loopback addresses/);
  refused({ podCidr: '10.244.0.0/16,fe80::/56' }, /fe80::\/56 and the link-local addresses/);
  refused({ podCidr: 'ff00::/16' }, /the multicast addresses/);
  refused({ podCidr: '::/0' }, /that is every address/);
});

test('a pod range with less than a subnet for each node is refused', () => {
  refused(
    { podCidr: '10.244.0.0/23' },
    /10\.244\.0\.0\/23 is too small for 3 nodes: each takes a \/24, and it holds 2/,
  );
  refused({ podCidr: '10.244.0.0/25' }, /holds 0/, 1);
  refused(
    { podCidr: '10.244.0.0/16,fd00::/63' },
    /fd00::\/63 is too small for 3 nodes: each takes a \/64, and it holds 2/,
  );
  assert.deepEqual(decideRanges({ podCidr: '10.244.0.0/22' }, { ...cluster, nodes: 4 }).podCidrs, ['10.244.0.0/22']);
});

test('a Service range has room for what a cluster needs, and not more than Kubernetes takes', () => {
  refused({ serviceCidr: '10.96.0.0/29' }, /--service-cidr 10\.96\.0\.0\/29: .* from 12 to 28 for IPv4/);
  refused({ serviceCidr: '10.96.0.0/16,fd00::/125' }, /fd00::\/125: .* from 64 to 124 for IPv6/);
  refused({ serviceCidr: 'fd00::/63' }, /from 64 to 124/);
});

test('two ranges are of both families, in the same order for pods and Services', () => {
  refused({ podCidr: '10.244.0.0/16,10.245.0.0/16' }, /'10\.244\.0\.0\/16,10\.245\.0\.0\/16': both ranges are IPv4/);
  refused({ podCidr: '10.244.0.0/16,fd00:1::/56,fd00:2::/56' }, /one range, or one IPv4 and one IPv6 range/);
  refused(
    { podCidr: '10.244.0.0/16,fd00:1::/56', serviceCidr: '10.96.0.0/16' },
    /--pod-cidr 10\.244\.0\.0\/16,fd00:1::\/56 is IPv4,IPv6 and --service-cidr 10\.96\.0\.0\/16 is IPv4: both must have/,
  );
  refused({ podCidr: '10.244.0.0/16,fd00:1::/56', serviceCidr: 'fd00:2::/112,10.96.0.0/16' }, /in the same order/);
});

test('what is no range is refused with its text', () => {
  refused({ podCidr: '10.244.0.0' }, /--pod-cidr '10\.244\.0\.0': not an address range/);
  refused({ podCidr: 5 }, /--pod-cidr '5': not an address range/);
  refused({ serviceCidr: '10.96.0.0/33' }, /--service-cidr '10\.96\.0\.0\/33'/);
  refused({ podCidr: '10.244.1.0/16' }, /begins at 10\.244\.0\.0; write 10\.244\.0\.0\/16/);
  refused({ podCidr: 'fd00::1/56' }, /'fd00::1\/56': the range begins at fd00::; write fd00::\/56/);
  refused({ podCidr: '10.244.0.0/16,' }, /--pod-cidr '': not an address range/);
});
