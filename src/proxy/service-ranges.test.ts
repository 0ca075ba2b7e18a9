import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceCIDR } from '../k8s/types.generated.ts';
import { asCidr } from '../net/address.ts';
import { serviceRanges } from './service-ranges.ts';

const cidr = (name: string, ...cidrs: string[]): ServiceCIDR => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name },
  spec: { cidrs },
});

test('the ranges of Services are the configured ones and those of all ServiceCIDRs, each once', () => {
  const configured = [asCidr('10.96.0.0/16')];
  assert.deepEqual(serviceRanges(configured, []), configured);
  assert.deepEqual(
    serviceRanges(configured, [cidr('kubernetes', '10.96.0.0/16'), cidr('more', '10.97.0.0/24', 'fd00::/112')]),
    ['10.96.0.0/16', '10.97.0.0/24', 'fd00::/112'],
  );
});
