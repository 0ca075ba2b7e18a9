// The program that the runtime starts for each call: it hands the call to the daemon and prints the answer.
import { supportedVersions } from './protocol.ts';

/**
 * The shim's source. Perl, because perl-base is on every Debian machine; without a single module, because those that
 * say the numbers of sockets (Socket, IO::Handle, even strict) cost three times what Perl itself does. (Perl takes 1.8 ms
 * of a processor to start, a static program in C 0.4 ms; but that needs a compiler on the node, or a binary for each kind
 * of processor that nobody can read.) It asks again
 * for two seconds while the daemon restarts. After that: ADD, CHECK and GC answer "try again later", STATUS "not
 * available", DEL leaves the call in the queue (written, synced and renamed, so that it is whole or not there).
 */
export function shimSource(options: { readonly socketPath: string; readonly queueDir: string }): string {
  return template
    .replace('@SOCKET@', () => perlQuoted(options.socketPath))
    .replace('@QUEUE@', () => perlQuoted(options.queueDir))
    .replace('@VERSIONS@', () => supportedVersions.map((version) => `"${version}"`).join(','));
}

/** A string in Perl's single quotes: only the quote and the backslash mean something there. */
function perlQuoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

const template = `#!/usr/bin/perl
# Weft's CNI plugin: hands the runtime's call to the node's agent. Written by the agent at its start.
my $socket = @SOCKET@;
my $queue = @QUEUE@;
my $command = defined $ENV{CNI_COMMAND} ? $ENV{CNI_COMMAND} : '';
my ($af_unix, $sock_stream, $shut_wr) = (1, 1, 1);
$SIG{PIPE} = 'IGNORE';
binmode STDIN;
binmode STDOUT;
my $config = do { local $/; <STDIN> };
$config = '' if !defined $config;
my $version = $config =~ /"cniVersion"\\s*:\\s*"([0-9.]{1,16})"/ ? $1 : '1.1.0';

sub fail {
  my ($code, $message) = @_;
  print qq({"cniVersion":"$version","code":$code,"msg":"$message"}\\n);
  exit 1;
}

if ($command eq 'VERSION') {
  print qq({"cniVersion":"$version","supportedVersions":[@VERSIONS@]}\\n);
  exit 0;
}

my $call = join('', map { "$_=$ENV{$_}\\0" } grep { /^CNI_[A-Z]+$/ } sort keys %ENV) . "\\0" . $config;

sub ask {
  socket(my $daemon, $af_unix, $sock_stream, 0) or return;
  connect($daemon, pack('S a108', $af_unix, $socket)) or return;
  for (my $sent = 0; $sent < length $call;) {
    $sent += syswrite($daemon, $call, length($call) - $sent, $sent) || return;
  }
  shutdown($daemon, $shut_wr);
  my $answer = '';
  1 while sysread($daemon, $answer, 65536, length $answer);
  return $answer =~ /^([01])\\n(.*)/s ? ($1, $2) : ();
}

for my $try (0 .. 40) {
  my ($status, $output) = ask();
  if (defined $status) {
    print $output;
    exit $status;
  }
  select(undef, undef, undef, 0.05);
  last if $command eq 'DEL' && $try >= 10 || $command eq 'STATUS' && $try >= 4;
}

if ($command eq 'DEL') {
  require IO::Handle;
  my $name = sprintf('%010d-%07d', time, $$);
  my $keep = sub {
    open(my $file, '>', "$queue/$name.new") or return 0;
    print {$file} $call or return 0;
    $file->flush && $file->sync or return 0;
    close $file or return 0;
    return rename("$queue/$name.new", "$queue/$name.call");
  };
  exit 0 if $keep->();
  fail(5, "the agent of this node does not answer, and the call could not be queued");
}
fail(50, 'the agent of this node does not answer') if $command eq 'STATUS';
fail(4, 'CNI_COMMAND is missing') if $command eq '';
fail(11, 'the agent of this node does not answer');
`;
