// Programs that test the rules of the Kubernetes network model from inside of namespaces, written for perl: its own
// modules suffice, and it starts in 15 ms.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';

/**
 * TCP: the peer's address, a line, then an echo. UDP: the peer's address, and as many bytes as came. Its arguments are
 * its addresses: a UDP socket of all of them would answer under the one that the way back begins with.
 */
const serverSource = `
use IO::Socket::IP; use IO::Select; use Socket qw(:all);
$SIG{PIPE} = 'IGNORE';
my @options = (LocalHost => '::', LocalPort => 7777, V6Only => 0, ReuseAddr => 1);
my $tcp = IO::Socket::IP->new(@options, Listen => 64, Proto => 'tcp') or die "tcp: $@";
my (%udp, @udp); for my $own (@ARGV) { my $s = IO::Socket::IP->new(LocalHost => $own, LocalPort => 7777, Proto => 'udp') or die "udp: $@";
  setsockopt($s, SOL_SOCKET, SO_RCVBUF, pack('i', 1 << 20)); $udp{$s} = 1; push @udp, $s }
my $select = IO::Select->new($tcp, @udp);
sub plain { my ($error, $host) = getnameinfo($_[0], NI_NUMERICHOST); $host =~ s/^::ffff://; $host }
$| = 1; print "ready\\n";
while (my @ready = $select->can_read) {
  for my $socket (@ready) {
    if ($udp{$socket}) {
      my $from = recv($socket, my $data, 65535, 0) // next;
      my $answer = plain($from) . "\\n"; $answer .= 'y' x (length($data) - length($answer)) if length($data) > 100;
      send($socket, $answer, 0, $from);
    } elsif ($socket == $tcp) {
      my $peer = $tcp->accept or next;
      syswrite($peer, plain(getpeername($peer)) . "\\n"); $select->add($peer);
    } else {
      my $count = sysread($socket, my $data, 65536);
      if (!$count) { $select->remove($socket); close $socket; next }
      my $at = 0; while ($at < $count) { my $n = syswrite($socket, $data, $count - $at, $at); last unless $n; $at += $n }
    }
  }
}`;

/** For each line "HOST MTU" on its input: tries all and prints one line: the addresses it is seen under, or what fails. */
const clientSource = `
use IO::Socket::IP; use Socket qw(:all);
$| = 1; $SIG{PIPE} = 'IGNORE'; my $id = $$ & 0xffff;
sub checksum { my $sum = 0; $sum += $_ for unpack('n*', $_[0] . (length($_[0]) % 2 ? "\\0" : '')); $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; ~$sum & 0xffff }
sub limit { my ($what, $work) = @_; my $result = eval { local $SIG{ALRM} = sub { die "timeout\\n" }; alarm 4; my $r = $work->(); alarm 0; $r }; alarm 0; my $e = $@; $e =~ s/\\s+/ /g; defined $result ? $result : "FAILED($what: $e)" }
sub tcp { my ($host) = @_; my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7777, Proto => 'tcp', Timeout => 3) or die "$@";
  my $seen = <$s>; chomp $seen; my $want = 200_000; my $got = 0;
  for my $round (1 .. 4) { my $data = 'x' x 50_000; my $at = 0; while ($at < 50_000) { my $n = syswrite($s, $data, 50_000 - $at, $at); die "write" unless $n; $at += $n }
    my $in = 0; while ($in < 50_000) { my $n = sysread($s, my $part, 65536); die "read" unless $n; $in += $n } $got += $in }
  die "short" if $got != $want; $seen }
sub udp { my ($host, $size) = @_; my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7777, Proto => 'udp') or die "$@";
  setsockopt($s, SOL_SOCKET, SO_RCVBUF, pack('i', 1 << 20));
  my $answer; $size > 1000 and setsockopt($s, SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 0, 700_000)); for my $try (1 .. 4) { defined($s->send('x' x $size)) && defined($s->recv($answer, 65535)) and last;
    # The way has told the sender that it carries less: over IPv6 that one has to cut anew. Where it is the server, its
    # answer is lost, and asked for again.
    die "send or recv: $!" unless $! =~ /too long|unavailable/ && $try < 4 }
  die 'length ' . length($answer) if $size > 100 && length($answer) != $size; (split /\\n/, $answer)[0] }
sub ping { my ($host, $mtu) = @_; my $six = $host =~ /:/;
  socket(my $s, $six ? PF_INET6 : PF_INET, SOCK_RAW, $six ? 58 : 1) or die "socket: $!";
  $six ? setsockopt($s, 41, 23, pack('i', 2)) : setsockopt($s, 0, 10, pack('i', 2));
  my $to = $six ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $host)) : pack_sockaddr_in(0, inet_aton($host));
  my $payload = 'p' x ($mtu - ($six ? 48 : 28)); my $type = $six ? 128 : 8;
  my $message = pack('CCnnn', $type, 0, 0, $id, 1) . $payload; substr($message, 2, 2) = pack('n', checksum($message)) unless $six;
  for my $try (1 .. 3) { defined(send($s, $message, 0, $to)) or ($! =~ /long/ && $try < 3 and next) or die "send: $!";
    my $end = time + 2; while (time < $end) { my $bits = ''; vec($bits, fileno($s), 1) = 1; last unless select($bits, undef, undef, 0.5);
      recv($s, my $in, 65535, 0); $in = substr($in, (ord($in) & 15) * 4) unless $six;
      my ($kind, undef, undef, $for) = unpack('CCnn', $in); return 'ok' if $kind == ($six ? 129 : 0) && $for == $id } }
  die 'no answer' }
while (my $line = <STDIN>) { my ($host, $mtu) = split ' ', $line;
  print join(' ', $host, limit('tcp', sub { tcp($host) }), limit('udp', sub { udp($host, 20) }), limit('udp 65000', sub { udp($host, 65_000) }), limit('ping', sub { ping($host, $mtu) })), "\\n" }`;

/** A connection that says something every 10 ms (100 where the processor is emulated) and wants it back; at the end it prints how often, and the longest wait. */
const talkerSource = `
use IO::Socket::IP; use IO::Select; use Time::HiRes qw(time sleep);
my ($host) = @ARGV; $| = 1;
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7777, Proto => 'tcp', Timeout => 3) or die "$@";
my $seen = <$s>; print "ready\\n"; my $select = IO::Select->new(\\*STDIN); my ($count, $longest) = (0, 0);
until ($select->can_read(0)) { my $begin = time; syswrite($s, "tick") or last; my $got = 0;
  while ($got < 4) { local $SIG{ALRM} = sub { die "stuck\\n" }; alarm 10; my $n = sysread($s, my $part, 64); alarm 0; unless ($n) { print "lost after $count\\n"; exit } $got += $n }
  my $took = time - $begin; $longest = $took if $took > $longest; $count++; sleep($ENV{WEFT_EMULATED} ? 0.1 : 0.01) }
printf "%d %.0f\\n", $count, $longest * 1000;`;

function perl(netns: string, source: string, ...args: string[]) {
  return inNetns(netnsPath(netns), () =>
    spawn('perl', ['-e', source, ...args], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
}

/** Starts a server in a named namespace; resolves when it listens. */
export async function startServer(netns: string, addresses: readonly string[]): Promise<{ stop(): void }> {
  const child = perl(netns, serverSource, ...addresses);
  await readyLine(child, netns);
  return { stop: () => void child.kill('SIGKILL') };
}

async function readyLine(child: ChildProcess, netns: string): Promise<void> {
  if (child.stdout === null) throw new Error('no output');
  const [first] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (!String(first).startsWith('ready')) throw new Error(`the program in ${netns} did not start`);
}

export interface Target {
  readonly host: string;
  /** The largest packet that the way is to carry, in bytes. */
  readonly mtu: number;
}

/** What a client in that namespace finds at each target: `HOST seen-by-tcp seen-by-udp seen-by-64K-udp ok`. */
export async function probe(netns: string, targets: readonly Target[]): Promise<string[]> {
  const child = perl(netns, clientSource);
  child.stdin.end(targets.map(({ host, mtu }) => `${host} ${mtu}\n`).join(''));
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  return lines;
}

/** A conversation that goes on until it is stopped. */
export class Talker {
  readonly #child: ReturnType<typeof perl>;

  private constructor(child: ReturnType<typeof perl>) {
    this.#child = child;
  }

  static async start(netns: string, host: string): Promise<Talker> {
    const child = perl(netns, talkerSource, host);
    await readyLine(child, netns);
    return new Talker(child);
  }

  /** How often it got an answer, and the longest wait in ms. Throws where the connection was lost. */
  async stop(): Promise<{ readonly count: number; readonly longestMs: number }> {
    this.#child.stdin.end('\n');
    let text = '';
    for await (const chunk of this.#child.stdout) text += String(chunk);
    const [, count, longest] = /^(\d+) (\d+)\n$/.exec(text) ?? [];
    if (count === undefined) throw new Error(`the connection was lost: ${text}`);
    return { count: Number(count), longestMs: Number(longest) };
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
