// Reads along on the underlay: how many frames are WireGuard's, and which ones show what pods say.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';

/**
 * A frame is in clear when a pod is its source or destination (10.244.0.0/16, fd00:244::/32), when it is VXLAN, or
 * when it has the text of the programs in probe.ts. At the end: a number, then what was seen in clear, once each.
 */
const source = `
use IO::Select; use Socket; $| = 1;
socket(my $s, 17, SOCK_RAW, unpack('S', pack('n', 3))) or die "packet socket: $!";
setsockopt($s, SOL_SOCKET, 33, pack('i', 64 << 20));
print "ready\\n"; my $select = IO::Select->new($s, \\*STDIN); my ($encrypted, $ending, %clear) = (0, 0);
while (my @ready = $select->can_read($ending ? 0.2 : undef)) { for my $ready (@ready) {
  if ($ready == \\*STDIN) { $select->remove($ready); $ending = 1; next }
  recv($s, my $frame, 65535, 0) // next;
  my $type = unpack('n', substr($frame, 12, 2)); my ($from, $to, $protocol, $rest);
  if ($type == 0x800) { my $length = (ord(substr($frame, 14)) & 15) * 4; ($from, $to) = map { join '.', unpack('C4', substr($frame, $_, 4)) } 26, 30; $protocol = ord(substr($frame, 23)); $rest = substr($frame, 14 + $length) }
  elsif ($type == 0x86dd) { ($from, $to) = map { join ':', map { sprintf '%x', $_ } unpack('n8', substr($frame, $_, 16)) } 22, 38; $protocol = ord(substr($frame, 20)); $rest = substr($frame, 54) }
  else { next }
  my $port = $protocol == 17 && length($rest) >= 4 ? unpack('x2n', $rest) : 0;
  if ($port == 51820) { $encrypted++; next }
  my $isPods = grep { /^10\\.244\\./ || /^fd00:244:/ } $from, $to;
  $clear{"$from > $to protocol $protocol"} = 1 if $isPods || $port == 8472;
} }
print "$encrypted\\n", map { "$_\\n" } sort keys %clear;`;

export interface Heard {
  /** Frames of WireGuard. */
  readonly encrypted: number;
  /** What of pods was in clear, each pair once. */
  readonly clear: readonly string[];
}

export class Sniffer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
  }

  /** Listens on all links of a namespace from now on. */
  static async start(netns: string): Promise<Sniffer> {
    const child = inNetns(netnsPath(netns), () =>
      spawn('perl', ['-e', source], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await once(child.stdout, 'data');
    return new Sniffer(child);
  }

  async stop(): Promise<Heard> {
    const output = text(this.#child.stdout);
    this.#child.stdin.end();
    const [count = '', ...clear] = (await output).trim().split('\n');
    return { encrypted: Number(count), clear };
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
