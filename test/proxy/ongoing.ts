// Clients of peer.pl that go on while something changes: a connection that is held, and many short ones.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Where clients run: it starts a program in a namespace of that name. */
export interface Place {
  spawn(name: string, ...argv: string[]): ChildProcess;
}

/** Some 100 requests a second, each a connection of its own; others with another pause, in seconds, between them. */
export class Requests {
  readonly #child: ChildProcess;
  #answered = 0;
  #failed = 0;
  #told: () => void = () => {};

  constructor(place: Place, from: string, address: string, port: number, pause = 0.008) {
    this.#child = place.spawn(from, 'perl', '-e', requests, address, String(port), String(pause), patience);
    this.#child.stdout?.on('data', (data) => {
      for (const letter of String(data)) {
        if (letter === '.') this.#answered++;
        else this.#failed++;
      }
      this.#told();
    });
  }

  /** Resolves after so many more requests. */
  async more(count: number): Promise<void> {
    const until = this.#answered + this.#failed + count;
    while (this.#answered + this.#failed < until)
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
  }

  async end(): Promise<{ answered: number; failed: number }> {
    this.#child.stdin?.end();
    await once(this.#child, 'close');
    return { answered: this.#answered, failed: this.#failed };
  }
}

/** Seconds after which a request has failed: what the network lost is sent again until then. */
const patience = process.env.WEFT_EMULATED === undefined ? '3' : '20';

const requests = `
  use IO::Select; use IO::Socket::IP;
  $| = 1;
  my $end = IO::Select->new(\\*STDIN);
  until ($end->can_read($ARGV[2])) {
    my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => $ARGV[3]);
    my $answered = $socket && IO::Select->new($socket)->can_read($ARGV[3]) && defined <$socket>;
    warn join(' ', "no answer from $ARGV[0] port $ARGV[1]:", $socket ? 'connected,' : 'not connected,', $! || $@, "\n") unless $answered;
    print $answered ? '.' : '!';
  }
`;

/** A connection that goes on: what is said in it comes back from the same endpoint. */
export class Line {
  readonly #child: ChildProcess;
  #name: string | undefined;

  constructor(place: Place, from: string, address: string, port: number) {
    this.#child = place.spawn(from, 'perl', '-e', line, address, String(port));
    this.#child.stdout?.setEncoding('utf8');
  }

  /** Says a word, and hears it again; returns the name of the endpoint. */
  async say(word: string): Promise<string> {
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error('the client has no pipes');
    if (this.#name === undefined) {
      const [greeting]: string[] = await once(stdout, 'data');
      this.#name = greeting?.split(' ')[0] ?? '';
    }
    stdin.write(`${word}\n`);
    assert.deepEqual(await once(stdout, 'data'), [`${this.#name} ${word}\n`]);
    return this.#name;
  }

  /** Ends it in due form. */
  end(): void {
    this.#child.stdin?.end();
  }

  /** Breaks it off (RST), so that both ends forget it soon. */
  reset(): void {
    this.#child.stdin?.write('reset\n');
  }
}

const line = `
  use IO::Socket::IP;
  use Socket qw(SOL_SOCKET SO_LINGER);
  $| = 1;
  my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) or die;
  print scalar <$socket>;
  while (my $line = <STDIN>) {
    if ($line eq "reset\\n") { setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)); close $socket; exit }
    $socket->print($line);
    print scalar <$socket>;
  }
`;
