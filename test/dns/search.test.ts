// Names with few dots, asked from a pod with the usual search list: how many questions go over its link, and upstream.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Network } from '../proxy/namespaces.ts';

/** Prints the name in each datagram of IPv4 to port 53 that goes out by any link (packet(7)). */
const captureSource = `
socket(my $s, 17, 2, unpack('S', pack('n', 3))) or die $!;
$| = 1; print "captures\\n";
while (my $from = recv($s, my $p, 65535, 0)) {
  next unless unpack('x10 C', $from) == 4 && (unpack('C', $p) >> 4) == 4 && unpack('x9 C', $p) == 17 && unpack('x22 n', $p) == 53;
  my ($at, @labels) = (40);
  while (my $n = unpack("x$at C", $p)) { push @labels, substr($p, $at + 1, $n); $at += $n + 1 }
  print join('.', @labels), "\\n";
}`;

describe('search completion', { timeout: 30_000 }, () => {
  let network: Network;
  let upstream: string[];
  let seen: string[];
  const start = async (name: string, file: string, ...more: string[]): Promise<ChildProcess> => {
    const program = join(import.meta.dirname, file);
    const child = network.spawn(name, process.execPath, '--disable-warning=ExperimentalWarning', program, ...more);
    if (child.stdout === null) throw new Error(`${file} has no output`);
    await once(child.stdout, 'data');
    return child;
  };
  /** The names in the queries that leave the pod, read from its link. */
  const capture = async (): Promise<void> => {
    const child = network.spawn('a', 'perl', '-e', captureSource);
    if (child.stdout === null) throw new Error('the capture has no output');
    const lines = createInterface({ input: child.stdout });
    await once(lines, 'line');
    lines.on('line', (name) => seen.push(name));
  };
  const lookUp = (name: string, from = 'a'): string => {
    upstream.splice(0);
    seen.splice(0);
    const options = ['+search', '+ndots=5', '+tries=1', '+time=2', '+noall', '+answer', '+nocookie'];
    return network.run(from, 'dig', `@10.96.0.10`, ...options, '+domain=shop.svc.cluster.local', name);
  };
  let marks = 0;
  /** What comes in order after all that came before has been seen: then all of that has been seen, too. */
  const settled = async (): Promise<void> => {
    const mark = `mark-${++marks}.example.org`;
    network.run('a', 'dig', '@10.96.0.10', '+tries=1', '+time=2', '+nocookie', mark);
    for (const list of [seen, upstream])
      for (const end = performance.now() + 2000; list.at(-1) !== mark; await delay(5))
        assert.ok(performance.now() < end, `${mark} is not seen within 2 s: ${list}`);
    for (const list of [seen, upstream]) list.pop();
  };

  before(async () => {
    upstream = [];
    seen = [];
    network = new Network();
    const judge = await start('remote', 'upstream-process.ts', '172.18.0.3');
    if (judge.stdout !== null)
      createInterface({ input: judge.stdout }).on(
        'line',
        (line) => void (line.startsWith('A ') && upstream.push(line.slice(2))),
      );
    await start('node', 'search-process.ts', '172.18.0.3');
    await capture();
  });
  after(async () => {
    await network.remove();
  });

  test('an outside name costs one question of the client and one upstream', async () => {
    assert.match(
      lookUp('www.example.com'),
      /www\.example\.com\.shop\.svc\.cluster\.local\.\s+\d+\s+IN\s+CNAME\s+www\.example\.com\.\nwww\.example\.com\.\s+\d+\s+IN\s+A\s+192\.0\.2\.1\n/,
    );
    await settled();
    assert.deepEqual(seen, ['www.example.com.shop.svc.cluster.local']);
    assert.deepEqual(upstream, ['www.example.com']);
  });

  test('a Service of another namespace is found by the first question', async () => {
    assert.match(lookUp('db.other'), /CNAME\s+db\.other\.svc\.cluster\.local\.\n.*A\s+10\.96\.0\.7\n/);
    await settled();
    assert.deepEqual(upstream, []);
  });

  test('a name that nobody has does not exist, and is asked upstream once', async () => {
    assert.equal(lookUp('nobody.example.com'), '');
    await settled();
    assert.deepEqual(upstream, ['nobody.example.com']);
  });

  test('a single label is no outside name', async () => {
    assert.equal(lookUp('web.shop.svc.cluster.local.'), '');
    await settled();
    assert.deepEqual(upstream, []);
  });

  test('clients that are no pods of the node are answered to the letter', async () => {
    assert.equal(lookUp('www.example.com.shop.svc.cluster.local.', 'b'), '');
    await settled();
    assert.deepEqual(upstream, []);
  });
});
