// The rules of Kubernetes' DNS specification 1.1.0 and CoreDNS's known behaviours as a table of question and answer,
// asked from a pod with the tools and the resolvers that people use.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Network } from '../proxy/namespaces.ts';

const zone = 'cluster.local';
const nodata = 'NOERROR';
const none = 'NXDOMAIN';

/** What is asked, and the answer section sorted; or the code, where it is empty. */
const table: readonly (readonly [name: string, type: string, answer: string | readonly string[]])[] = [
  // Services with an address.
  ['web.default.svc', 'A', ['web.default.svc A 10.96.0.1']],
  ['WEB.Default.SVC', 'A', ['WEB.Default.SVC A 10.96.0.1']],
  ['web.default.svc', 'AAAA', nodata],
  ['web.default.svc', 'TXT', nodata],
  ['web.default.svc', 'SOA', nodata],
  ['web.default.svc', 'NS', nodata],
  ['dual.default.svc', 'A', ['dual.default.svc A 10.96.0.2']],
  ['dual.default.svc', 'AAAA', ['dual.default.svc AAAA fd96::2']],
  ['1st.default.svc', 'A', ['1st.default.svc A 10.96.0.5']],
  // Ports: those with a name have a name of their own; all are at the Service's.
  ['_http._tcp.web.default.svc', 'SRV', ['_http._tcp.web.default.svc SRV 0 100 80 web.default.svc']],
  ['_http._udp.web.default.svc', 'SRV', none],
  ['_none._tcp.web.default.svc', 'SRV', none],
  [
    'web.default.svc',
    'SRV',
    ['web.default.svc SRV 0 50 80 web.default.svc', 'web.default.svc SRV 0 50 81 web.default.svc'],
  ],
  ['_http._tcp.dual.default.svc', 'SRV', ['_http._tcp.dual.default.svc SRV 0 50 80 dual.default.svc']],
  // Headless Services: the ready endpoints, each with a name of its own.
  ['db.default.svc', 'A', ['db.default.svc A 10.244.1.2', 'db.default.svc A 10.244.1.3']],
  ['db.default.svc', 'AAAA', ['db.default.svc AAAA fd44:1::2']],
  ['db-0.db.default.svc', 'A', ['db-0.db.default.svc A 10.244.1.2']],
  ['db-0.db.default.svc', 'AAAA', ['db-0.db.default.svc AAAA fd44:1::2']],
  ['10-244-1-3.db.default.svc', 'A', ['10-244-1-3.db.default.svc A 10.244.1.3']],
  ['10-244-1-4.db.default.svc', 'A', none],
  [
    '_sql._tcp.db.default.svc',
    'SRV',
    [
      '_sql._tcp.db.default.svc SRV 0 33 3306 10-244-1-3.db.default.svc',
      '_sql._tcp.db.default.svc SRV 0 33 3306 db-0.db.default.svc',
    ],
  ],
  ['idle.default.svc', 'A', none],
  ['early.default.svc', 'A', ['early.default.svc A 10.244.1.8']],
  // Aliases: what leads into the cluster comes with what it leads to.
  ['out.default.svc', 'A', ['out.default.svc CNAME example.com.']],
  ['out.default.svc', 'CNAME', ['out.default.svc CNAME example.com.']],
  ['endpoint.out.default.svc', 'CNAME', none],
  ['alias.default.svc', 'A', ['alias.default.svc CNAME dual.default.svc', 'dual.default.svc A 10.96.0.2']],
  ['alias.default.svc', 'AAAA', ['alias.default.svc CNAME dual.default.svc', 'dual.default.svc AAAA fd96::2']],
  // What is not there, and what is there and holds nothing.
  ['nosuch.default.svc', 'A', none],
  ['web.nosuch.svc', 'A', none],
  ['bogus.web.default.svc', 'A', none],
  ['nosuch.svc', 'NS', none],
  ['nosuch', 'NS', none],
  ['default.svc', 'A', nodata],
  ['default.svc', 'NS', nodata],
  ['svc', 'A', nodata],
  ['svc', 'NS', nodata],
  ['pod', 'A', nodata],
  [`${'x'.repeat(63)}.${'y'.repeat(63)}.${'z'.repeat(63)}.default.svc`, 'A', none],
  // Pods by their addresses, for any address as with `pods insecure`.
  ['1-2-3-4.default.pod', 'A', ['1-2-3-4.default.pod A 1.2.3.4']],
  ['fd44--1.default.pod', 'AAAA', ['fd44--1.default.pod AAAA fd44::1']],
  ['1-2-3-4.nosuch.pod', 'A', none],
  ['1-2-3-400.default.pod', 'A', none],
  ['dns-version', 'TXT', ['dns-version TXT "1.1.0"']],
  ['', 'NS', ['@ NS kube-dns.kube-system.svc']],
  // And back.
  ['1.0.96.10.in-addr.arpa.', 'PTR', ['1.0.96.10.in-addr.arpa. PTR web.default.svc']],
  ['2.1.244.10.in-addr.arpa.', 'PTR', ['2.1.244.10.in-addr.arpa. PTR db-0.db.default.svc']],
  [
    reverse6('fd960000000000000000000000000002'),
    'PTR',
    [`${reverse6('fd960000000000000000000000000002')} PTR dual.default.svc`],
  ],
];

function reverse6(digits: string): string {
  return `${[...digits].reverse().join('.')}.ip6.arpa.`;
}

const full = (name: string): string => (name.endsWith('.') ? name : name === '' ? `${zone}.` : `${name}.${zone}.`);

/** What dig and kdig print for several questions: for each the code and its answer section. */
function readAnswers(output: string): { code: string; answer: string[] }[] {
  return output
    .split(/^;; ->>HEADER<<-/m)
    .slice(1)
    .map((part) => {
      const lines = part.split('\n').filter((line) => line !== '' && !line.startsWith(';'));
      const answer = lines.slice(1).map((line) => {
        const [name = '', , , type = '', ...data] = line.split(/\s+/);
        const short = (text: string): string =>
          text === `${zone}.` ? '@' : text.endsWith(`.${zone}.`) ? text.slice(0, -zone.length - 2) : text;
        return [short(name), type, ...data.map(short)].join(' ');
      });
      return { code: /status: (\w+)/.exec(part)?.[1] ?? '', answer: answer.sort() };
    });
}

describe('questions and answers', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'wt-dns-tables-'));
  let network: Network;

  before(async () => {
    network = new Network();
    const program = join(import.meta.dirname, 'tables-process.ts');
    const child = network.spawn('node', process.execPath, '--disable-warning=ExperimentalWarning', program);
    if (child.stdout !== null) await once(child.stdout, 'data');
  });
  after(async () => {
    await network.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const questions = table.flatMap(([name, type]) => [full(name), type]);
  for (const [tool, path, options] of [
    ['dig', '/usr/bin/dig', ['+noall', '+comments', '+answer', '+tries=2', '+time=3', '+noidnin', '+noidnout']],
    ['kdig', '/usr/bin/kdig', ['+noall', '+header', '+answer', '+retry=1', '+time=3']],
  ] as const)
    for (const server of ['10.96.0.10', 'fd96::a'])
      for (const transport of ['+notcp', '+tcp'])
        test(`${tool} at ${server} ${transport}`, { skip: !existsSync(path) && `${tool} is not installed` }, () => {
          const queries = questions.flatMap((text, index) =>
            index % 2 === 0 ? [text, questions[index + 1] ?? '', ...options, transport] : [],
          );
          const answers = readAnswers(network.run('a', tool, `@${server}`, ...options, transport, ...queries));
          assert.equal(answers.length, table.length);
          for (const [index, [name, type, expected]] of table.entries()) {
            const given = answers[index];
            // kdig asks and shows names in lower case.
            const own = (text: string): string =>
              tool === 'kdig' ? text.replace(/^\S+/, (one) => one.toLowerCase()) : text;
            const wanted = typeof expected === 'string' ? [] : expected.map(own).sort();
            assert.deepEqual(given?.answer, wanted, `${name} ${type}`);
            assert.equal(given?.code, typeof expected === 'string' ? expected : 'NOERROR', `${name} ${type}`);
          }
        });

  test('negative answers have the SOA of the zone, SRV answers the addresses of their targets', () => {
    const dig = (...more: string[]): string => network.run('a', 'dig', '@10.96.0.10', '+noall', '+nocookie', ...more);
    const soa =
      /^cluster\.local\.\s+30\s+IN\s+SOA\s+ns\.dns\.cluster\.local\. hostmaster\.cluster\.local\. \d+ 7200 1800 86400 30$/m;
    assert.match(dig('+authority', `nosuch.default.svc.${zone}`), soa);
    assert.match(dig('+authority', `web.default.svc.${zone}`, 'AAAA'), soa);
    const glue = dig('+additional', `_sql._tcp.db.default.svc.${zone}`, 'SRV');
    assert.match(glue, /^db-0\.db\S+\s+30\s+IN\s+A\s+10\.244\.1\.2$/m);
    assert.match(glue, /^db-0\.db\S+\s+30\s+IN\s+AAAA\s+fd44:1::2$/m);
    assert.match(dig('+additional', zone, 'NS'), /^kube-dns\.kube-system\S+\s+30\s+IN\s+A\s+10\.96\.0\.10$/m);
  });

  test('what does not fit a datagram is cut and said to be, and is whole over TCP', () => {
    const dig = (...more: string[]): string =>
      network.run('a', 'dig', '@10.96.0.10', '+nocookie', ...more, `many.default.svc.${zone}`);
    const count = (output: string): number => (output.match(/\sA\s+10\.244\.2\./g) ?? []).length;
    const small = dig('+noedns', '+ignore');
    assert.match(small, /flags: qr aa tc/);
    assert.ok(count(small) > 10 && count(small) < 40);
    assert.ok(count(dig('+bufsize=1232', '+ignore')) > 60);
    assert.equal(count(dig('+noedns')), 100);
  });

  const resolvConf = (...lines: string[]): string => {
    const path = join(folder, 'resolv.conf');
    const search = `search default.svc.${zone} svc.${zone} ${zone}`;
    writeFileSync(path, [search, 'options ndots:5 timeout:2 attempts:2', ...lines, ''].join('\n'));
    return path;
  };
  /** Runs a resolver's program in the pod with that resolv.conf, in a mount namespace of its own. */
  const resolve = (path: string, program: readonly string[], name: string): string[] => {
    const script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
    const argv = ['unshare', '--mount', 'sh', '-c', script, 'sh', path, ...program, name];
    try {
      const output = network.run('a', ...argv);
      return [...new Set(output.split('\n').flatMap((line) => line.split(/\s+/)[0] || []))].sort();
    } catch {
      return [];
    }
  };
  const looked: readonly (readonly [name: string, addresses: readonly string[] | number])[] = [
    ['web', ['10.96.0.1']],
    ['web.default', ['10.96.0.1']],
    ['web.default.svc', ['10.96.0.1']],
    [`web.default.svc.${zone}`, ['10.96.0.1']],
    ['dual', ['10.96.0.2', 'fd96::2']],
    ['db', ['10.244.1.2', '10.244.1.3', 'fd44:1::2']],
    ['db-0.db', ['10.244.1.2', 'fd44:1::2']],
    ['alias', ['10.96.0.2', 'fd96::2']],
    ['nosuch', []],
    ['idle', []],
  ];
  const check = (path: string, program: readonly string[], cases: typeof looked): void => {
    for (const [name, expected] of cases) {
      const found = resolve(path, program, name);
      if (typeof expected === 'number') assert.equal(found.length, expected, name);
      else assert.deepEqual(found, expected, name);
    }
  };

  for (const server of ['10.96.0.10', 'fd96::a'])
    test(`glibc's resolver at ${server}`, () => {
      const getent = ['getent', 'ahosts'];
      check(resolvConf(`nameserver ${server}`), getent, [...looked, ['many', 100]]);
      check(resolvConf(`nameserver ${server}`, 'options use-vc'), getent, looked.slice(0, 5));
    });

  const compiler = '/usr/bin/musl-gcc';
  for (const server of ['10.96.0.10', 'fd96::a'])
    test(`musl's resolver at ${server}`, { skip: !existsSync(compiler) && 'musl-tools is not installed' }, () => {
      const source = join(folder, 'resolve.c');
      const program = join(folder, 'resolve');
      writeFileSync(source, muslSource);
      execFileSync(compiler, ['-static', '-O1', '-o', program, source]);
      check(resolvConf(`nameserver ${server}`), [program], looked);
    });
});

/** Prints each address of a name, as getaddrinfo(3) gives them. */
const muslSource = `
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
  if (argc < 2 || getaddrinfo(argv[1], 0, &hints, &found)) return 2;
  for (; found; found = found->ai_next) {
    char text[64];
    if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST)) puts(text);
  }
}
`;
