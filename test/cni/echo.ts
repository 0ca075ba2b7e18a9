// A server that answers with the address it sees its peer under, and a client for it; each in a namespace.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';

/** Perl's own modules suffice, and it starts in 15 ms. One process serves TCP and UDP of both families on port 7777. */
const serverSource = `
use IO::Socket::IP; use IO::Select; use Socket qw(:all);
$SIG{PIPE} = 'IGNORE';
my @options = (LocalHost => '::', LocalPort => 7777, V6Only => 0, ReuseAddr => 1);
my $tcp = IO::Socket::IP->new(@options, Listen => 64, Proto => 'tcp') or die "tcp: $@";
my $udp = IO::Socket::IP->new(@options, Proto => 'udp') or die "udp: $@";
my $select = IO::Select->new($tcp, $udp);
sub plain { my ($error, $host) = getnameinfo($_[0], NI_NUMERICHOST); $host =~ s/^::ffff://; $host }
$| = 1; print "ready\\n";
while (my @ready = $select->can_read) {
  for my $socket (@ready) {
    if ($socket == $udp) { my $from = recv($udp, my $data, 65535, 0); send($udp, plain($from), 0, $from); }
    else { my $peer = $tcp->accept or next; print {$peer} plain(getpeername($peer)); close $peer; }
  }
}`;

const clientSource = `
use IO::Socket::IP;
my ($proto, $host, $port, $source) = @ARGV;
my @source = $source eq '' ? () : (LocalHost => $source);
my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => $proto, Timeout => 2, @source) or die "$host: $@\\n";
$SIG{ALRM} = sub { die "$host: no answer\\n" }; alarm 2;
if ($proto eq 'udp') { $socket->send('x' x 1000); defined $socket->recv(my $answer, 200) or die "$host: $!\n"; print $answer; }
else { local $/; print scalar <$socket>; }`;

export class EchoServer implements Disposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts a server in a named namespace; resolves when it listens. */
  static async start(netns: string): Promise<EchoServer> {
    const child = inNetns(netnsPath(netns), () =>
      spawn('perl', ['-e', serverSource], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    const [first] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    if (String(first) !== 'ready\n') throw new Error(`the server in ${netns} did not start`);
    return new EchoServer(child);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/**
 * Under which address the server at `host` sees a client in the namespace (which sends from `source` where that is
 * given); throws when there is no answer.
 */
export function seenAs(netns: string, host: string, protocol: 'tcp' | 'udp' = 'tcp', port = 7777, source = ''): string {
  const result = inNetns(netnsPath(netns), () =>
    spawnSync('perl', ['-e', clientSource, protocol, host, String(port), source], { encoding: 'utf8' }),
  );
  if (result.status !== 0) throw new Error(`from ${netns}: ${result.stderr.trim()}`);
  return result.stdout;
}
