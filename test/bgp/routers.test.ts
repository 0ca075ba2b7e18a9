// Routers of others beside the cluster (BIRD, FRR, GoBGP): they learn each node's range, reach pods, and are reached.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { secrets } from '../../src/k8s/resources.ts';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import { BgpLab, birdIsMissing, eventually, reaches, runIn } from './lab.ts';

const frr = '/usr/lib/frr';
const without = (missing: boolean, what: string) => ({
  skip: birdIsMissing || (missing && `${what} is not installed: apt-get install ${what}`),
});

const settings = (more = ''): string => `
asNumber: 64512
peers:
  - name: tor
    address: 172.18.0.200
    asNumber: 64600
    accept: [203.0.113.0/24]
    ${more}
  - name: tor-v6
    address: fd18::200
    asNumber: 64600
`;

/** A process in a namespace for as long as the value lives. */
function runningIn(netns: string, command: string, ...args: string[]): Disposable {
  const child = inNetns(netnsPath(netns), () => spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

function twoNodes(): BgpLab {
  const lab = new BgpLab();
  lab.addNode();
  lab.addNode();
  return lab;
}

/** What must hold with every router: pods of all nodes are reached from behind it, by its own table. */
async function assertReached(lab: BgpLab, router: string): Promise<void> {
  const routes = (): string => runIn(router, 'ip', 'route');
  await eventually('the router has all ranges', 15_000, () =>
    lab.nodes.every(({ number }) => routes().includes(`10.244.${number}.0/24 `)),
  );
  for (const node of lab.nodes) {
    assert.match(routes(), new RegExp(`10.244.${node.number}.0/24 .*via 172.18.0.${node.number} `));
    await eventually('the node has the way back', 10_000, () =>
      runIn(node.netns, 'ip', 'route').includes('203.0.113.0/24 via 172.18.0.200 '),
    );
    assert.ok(reaches(node.pod, '203.0.113.1'), `${node.name} to the network behind the router`);
  }
  // Nothing but what was asked for comes in, and Services are nobody's to see.
  for (const node of lab.nodes) assert.doesNotMatch(runIn(node.netns, 'ip', 'route'), /198\.51\.100/);
  assert.doesNotMatch(routes(), /10\.96\./);
}

test(
  'BIRD with a password: it learns the ranges, and what it offers besides is refused',
  without(false, ''),
  async () => {
    await using lab = twoNodes();
    const router = lab.addRouter(200);
    const data = { tor: Buffer.from("it's: {a} pass\\word").toString('base64') };
    await lab.client.create(secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: 'kube-system', name: 'weft-bgp' },
      data,
    });
    await lab.configure(settings('passwordKey: tor'));
    await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));
    const config = join(lab.root, 'router.conf');
    const neighbours = lab.nodes.map(
      ({ number }) => `
      protocol bgp {
        local 172.18.0.200 as 64600;
        neighbor 172.18.0.${number} as 64512;
        password "it's: {a} pass\\word";
        connect delay time 1; connect retry time 1;
        ipv4 { import all; export where source = RTS_STATIC; };
      }`,
    );
    writeFileSync(
      config,
      `router id 172.18.0.200;
    protocol device {}
    protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
    protocol static { ipv4; route 203.0.113.0/24 blackhole; route 198.51.100.0/24 blackhole; route 10.244.99.0/24 blackhole; }
    ${neighbours.join('')}`,
    );
    using _router = runningIn(router, 'bird', '-f', '-c', config, '-s', join(lab.root, 'router.ctl'));
    await assertReached(lab, router);
    for (const node of lab.nodes) assert.doesNotMatch(runIn(node.netns, 'ip', 'route'), /10\.244\.99/);
  },
);

test(
  'FRR: it learns the ranges of both families and reaches the pods',
  without(!existsSync(join(frr, 'bgpd')), 'frr'),
  async () => {
    await using lab = twoNodes();
    await lab.configure(settings());
    const router = lab.addRouter(200);
    const folder = join(lab.root, 'frr');
    mkdirSync(folder);
    // FRR's daemons become the user frr.
    chmodSync(lab.root, 0o711);
    chmodSync(folder, 0o777);
    const neighbours = (line: (number: number) => string): string =>
      lab.nodes.map(({ number }) => line(number)).join('\n');
    writeFileSync(
      join(folder, 'bgpd.conf'),
      `router bgp 64600
 bgp router-id 172.18.0.200
 no bgp ebgp-requires-policy
 timers bgp 3 9
 ${neighbours((n) => ` neighbor 172.18.0.${n} remote-as 64512\n neighbor fd18::${n} remote-as 64512`)}
 address-family ipv4 unicast
  network 203.0.113.0/24
  network 198.51.100.0/24
 exit-address-family
 address-family ipv6 unicast
 ${neighbours((n) => `  neighbor fd18::${n} activate`)}
 exit-address-family
`,
    );
    writeFileSync(join(folder, 'zebra.conf'), 'ip route 198.51.100.0/24 blackhole\n');
    const common = (daemon: string): string[] => [
      ...['-f', join(folder, `${daemon}.conf`), '-i', join(folder, `${daemon}.pid`), '-z', join(folder, 'zserv')],
      ...['--vty_socket', folder, '-P', '0', '--log', `file:${join(folder, 'log')}`],
    ];
    using _zebra = runningIn(router, join(frr, 'zebra'), ...common('zebra'));
    await eventually('zebra listens', 5000, () => existsSync(join(folder, 'zserv')));
    using _bgpd = runningIn(router, join(frr, 'bgpd'), ...common('bgpd'));
    await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));
    await assertReached(lab, router);
    await eventually('the IPv6 ranges are there', 15_000, () =>
      lab.nodes.every(({ number }) => runIn(router, 'ip', '-6', 'route').includes(`fd00:244:0:${number}::/64 `)),
    );
  },
);

test(
  'GoBGP: it learns the ranges, and its network is learned',
  without(spawnSync('gobgpd', ['--version']).error !== undefined, 'gobgpd'),
  async () => {
    await using lab = twoNodes();
    await lab.configure(settings());
    const router = lab.addRouter(200);
    const config = join(lab.root, 'gobgpd.toml');
    const neighbours = lab.nodes.map(
      ({ number }) => `
[[neighbors]]
  [neighbors.config]
    neighbor-address = "172.18.0.${number}"
    peer-as = 64512
  [neighbors.timers.config]
    connect-retry = 2
`,
    );
    writeFileSync(config, `[global.config]\n  as = 64600\n  router-id = "172.18.0.200"\n${neighbours.join('')}`);
    const gobgp = (...args: string[]): string => runIn(router, 'gobgp', ...args);
    using _router = runningIn(router, 'gobgpd', '-f', config, '-l', 'error', '--api-hosts', '127.0.0.1:50051');
    await eventually('gobgpd answers', 10_000, () => {
      try {
        gobgp('global', 'rib', 'add', '203.0.113.0/24', '-a', 'ipv4');
        gobgp('global', 'rib', 'add', '198.51.100.0/24', '-a', 'ipv4');
        return true;
      } catch {
        return false;
      }
    });
    await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));
    // GoBGP speaks and leaves the kernel to others: here, to the test.
    await eventually('GoBGP knows all ranges', 20_000, () => {
      const rib: Record<string, { attrs: { nexthop?: string }[] }[]> = JSON.parse(gobgp('global', 'rib', '-j'));
      for (const [to, [path]] of Object.entries(rib)) {
        const via = path?.attrs.find(({ nexthop }) => nexthop !== undefined)?.nexthop;
        if (to.startsWith('10.244.') && via !== undefined) runIn(router, 'ip', 'route', 'replace', to, 'via', via);
      }
      return lab.nodes.every(({ number }) => `10.244.${number}.0/24` in rib);
    });
    await assertReached(lab, router);
  },
);
