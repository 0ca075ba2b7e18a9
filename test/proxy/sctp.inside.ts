// SCTP with real packets: pods among each other, and Services; run in a machine whose kernel has SCTP (sctp.test.ts).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import type { Service } from '../../src/k8s/types.generated.ts';
import { Asker, type Question } from './asker.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

/** Answers "NAME PEER-ADDRESS" to each connection, at one address: several would be told to the peer, past any NAT. */
const server = `
use Socket qw(:all); $| = 1; my ($name, $host) = @ARGV; my $six = $host =~ /:/;
socket(my $socket, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 132) or die "socket: $!";
bind($socket, $six ? pack_sockaddr_in6(8080, inet_pton(AF_INET6, $host)) : pack_sockaddr_in(8080, inet_aton($host))) or die "bind: $!";
listen($socket, 64) or die "listen: $!"; print "listening\\n";
while (my $peer = accept(my $connection, $socket)) { my (undef, $from) = getnameinfo($peer, NI_NUMERICHOST); syswrite($connection, "$name $from\\n"); close $connection }`;

const network = new Network();
const proxy = new ProxyProcess(network);
const askers = {
  pod: new Asker(network, 'b', ['10.244.1.3', 'fd44:1::3']),
  outside: new Asker(network, 'outside', ['172.18.0.9', 'fd18::9']),
};
const port = { port: 80, protocol: 'SCTP', nodePort: 30080 };
const four = { clusterIP: '10.96.0.10', type: 'NodePort', ports: [port] };
const six = { clusterIP: 'fd96::10', ipFamilies: ['IPv6'], type: 'NodePort', ports: [port] };
const services: [Service, Service] = [service('four', four), service('six', six)];
const slices = (...letters: readonly ('a' | 'c')[]) => {
  const ports = [{ port: 8080, protocol: 'SCTP' }];
  const hosts = { a: ['10.244.1.2', 'fd44:1::2'], c: ['10.244.2.2', 'fd44:2::2'] } as const;
  const endpoints = (family: 0 | 1) =>
    letters.map((letter) => ({ ip: hosts[letter][family], node: letter === 'a' ? 'node' : 'remote' }));
  return [slice('four', endpoints(0), ports), { ...slice('six', endpoints(1), ports), addressType: 'IPv6' }];
};

before(async () => {
  for (const [place, name, host] of [
    ['a', 'a', '10.244.1.2'],
    ['a', 'a', 'fd44:1::2'],
    ['remote', 'c', '10.244.2.2'],
    ['remote', 'c', 'fd44:2::2'],
  ] as const) {
    const child = network.spawn(place, 'perl', '-e', server, name, host);
    if (child.stdout !== null) await once(child.stdout, 'data');
  }
  await proxy.start(...services, ...slices('a', 'c'));
});
after(() => network.remove());

/** All answers to many questions, each once. An emulated processor that has much else to do may be late, but seldom. */
async function answers(from: keyof typeof askers, address: string, at: number): Promise<string[]> {
  const question: Question = { protocol: 'sctp', address, port: at };
  const given = new Set<string>();
  let late = 0;
  for (let asked = 0; asked < 12; asked++) {
    const answer = await askers[from].ask(question);
    if (answer !== 'timeout' || ++late > 2) given.add(answer);
  }
  return [...given].sort();
}

test('pods reach each other by SCTP, untranslated, here and on another node', async () => {
  for (const [address, answer] of [
    ['10.244.1.2', 'a 10.244.1.3'],
    ['fd44:1::2', 'a fd44:1::3'],
    ['10.244.2.2', 'c 10.244.1.3'],
    ['fd44:2::2', 'c fd44:1::3'],
  ] as const)
    assert.equal(await askers.pod.ask({ protocol: 'sctp', address, port: 8080 }), answer);
});

test('a pod reaches every endpoint by the ClusterIP, and is seen itself', async () => {
  assert.deepEqual(await answers('pod', '10.96.0.10', 80), ['a 10.244.1.3', 'c 10.244.1.3']);
  assert.deepEqual(await answers('pod', 'fd96::10', 80), ['a fd44:1::3', 'c fd44:1::3']);
});

test('a client outside reaches every endpoint by the NodePort, behind the node’s address', async () => {
  assert.deepEqual(await answers('outside', '172.18.0.2', 30080), ['a 10.244.1.1', 'c 172.18.0.2']);
  assert.deepEqual(await answers('outside', 'fd18::2', 30080), ['a fd44:1::1', 'c fd18::2']);
});

test('an endpoint that is gone gets nothing any more, and without any there is no connection', async () => {
  await proxy.put(...slices('c'));
  assert.deepEqual(await answers('pod', '10.96.0.10', 80), ['c 10.244.1.3']);
  assert.deepEqual(await answers('pod', 'fd96::10', 80), ['c fd44:1::3']);
  await proxy.put(...slices());
  const answer = await askers.pod.ask({ protocol: 'sctp', address: '10.96.0.10', port: 80 });
  assert.match(answer, /^(refused|unreachable|timeout)$/);
});
