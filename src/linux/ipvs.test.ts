// The bytes of virtual and real servers, as linux/ip_vs.h says them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp, type Port, parsePort } from '../net/address.ts';
import { destAttribute, parseDest, parseService, serviceAttribute, serviceName, type VirtualServer } from './ipvs.ts';
import { parseAttributes } from './netlink.ts';

const port = (number: number): Port => parsePort(number) ?? assert.fail();
const hex = (...parts: readonly string[]): string => parts.join('').replaceAll(' ', '');
const web: VirtualServer = { address: asIp('10.96.0.1'), protocol: 'tcp', port: port(80), scheduler: 'rr' };

test('a virtual server is named by family, protocol, address and port', () => {
  assert.equal(
    serviceName(web).toString('hex'),
    hex(
      '2400 0180', // IPVS_CMD_ATTR_SERVICE, nested
      '0600 0100 0200 0000', // IPVS_SVC_ATTR_AF: AF_INET
      '0600 0200 0600 0000', // IPVS_SVC_ATTR_PROTOCOL: TCP
      '0800 0300 0a600001', // IPVS_SVC_ATTR_ADDR
      '0600 0400 0050 0000', // IPVS_SVC_ATTR_PORT, in network order
    ),
  );
});

test('a virtual server with affinity has a flag, a time and a mask for each client', () => {
  const bytes = serviceAttribute({ ...web, scheduler: 'mh', persistentSeconds: 10_800, hashPort: true });
  assert.equal(
    bytes.subarray(36).toString('hex'),
    hex(
      '0700 0600 6d6800 00', // IPVS_SVC_ATTR_SCHED_NAME
      '0c00 0700 11000000 ffffffff', // IPVS_SVC_ATTR_FLAGS: IP_VS_SVC_F_PERSISTENT, IP_VS_SVC_F_SCHED_MH_PORT; the mask
      '0800 0800 302a0000', // IPVS_SVC_ATTR_TIMEOUT
      '0800 0900 ffffffff', // IPVS_SVC_ATTR_NETMASK
    ),
  );
  const six = serviceAttribute({ ...web, address: asIp('fd96::1') });
  assert.ok(six.toString('hex').endsWith(hex('0800 0900 80000000')), 'the length of a prefix in IPv6');
});

test('a real server is translated to, with its weight', () => {
  assert.equal(
    destAttribute({ ip: asIp('10.244.1.2'), port: port(8080), weight: 3 }).toString('hex'),
    hex(
      '3c00 0280', // IPVS_CMD_ATTR_DEST, nested
      '0800 0100 0af40102', // IPVS_DEST_ATTR_ADDR
      '0600 0200 1f90 0000', // IPVS_DEST_ATTR_PORT
      '0600 0b00 0200 0000', // IPVS_DEST_ATTR_ADDR_FAMILY
      '0800 0300 00000000', // IPVS_DEST_ATTR_FWD_METHOD: IP_VS_CONN_F_MASQ
      '0800 0400 03000000', // IPVS_DEST_ATTR_WEIGHT
      '0800 0500 00000000', // IPVS_DEST_ATTR_U_THRESH
      '0800 0600 00000000', // IPVS_DEST_ATTR_L_THRESH
    ),
  );
});

test('what is written is read', () => {
  for (const address of ['10.96.0.1', 'fd96::1'].map(asIp))
    for (const part of [{}, { persistentSeconds: 60 }, { hashPort: true }]) {
      const server: VirtualServer = { ...web, address, ...part };
      assert.deepEqual(parseService(parseAttributes(serviceAttribute(server))), server);
    }
  const real = { ip: asIp('10.244.1.2'), port: port(8080), weight: 3 };
  const traffic = { connections: 0, packets: 0 };
  const none = { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0, traffic };
  assert.deepEqual(parseDest(parseAttributes(destAttribute(real)), 'IPv4'), { ...real, ...none });
});

test('a virtual server of a firewall mark has no address and is not read', () => {
  assert.equal(parseService(new Map()), undefined);
});
