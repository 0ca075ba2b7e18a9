// The program that the runtime starts for each call: it hands the call to the daemon and prints the answer.

/**
 * The shim's source. Perl, because perl-base is on every Debian machine and starts in 3 ms; only core modules. It asks
 * again for two seconds while the daemon restarts. After that: ADD, CHECK and GC answer "try again later", STATUS "not
 * available", DEL leaves the call in the queue (written, synced and renamed, so that it is whole or not there).
 */
export function shimSource(options: { readonly socketPath: string; readonly queueDir: string }): string {
  return template
    .replace('@SOCKET@', () => perlQuoted(options.socketPath))
    .replace('@QUEUE@', () => perlQuoted(options.queueDir));
}

/** A string in Perl's single quotes: only the quote and the backslash mean something there. */
function perlQuoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

const template = `#!/usr/bin/perl
# Weft's CNI plugin: hands the runtime's call to the node's agent. Written by the agent at its start.
use strict;
use warnings;
use Socket;
use IO::Handle;

my $socket = @SOCKET@;
my $queue = @QUEUE@;
my $command = $ENV{CNI_COMMAND} // '';
$SIG{PIPE} = 'IGNORE';
binmode STDIN;
binmode STDOUT;
my $config = do { local $/; <STDIN> } // '';
my ($version) = $config =~ /"cniVersion"\\s*:\\s*"([0-9.]{1,16})"/;
$version //= '1.1.0';

sub fail {
  my ($code, $message) = @_;
  print qq({"cniVersion":"$version","code":$code,"msg":"$message"}\\n);
  exit 1;
}

if ($command eq 'VERSION') {
  print qq({"cniVersion":"$version","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\\n);
  exit 0;
}

my $call = join('', map { "$_=$ENV{$_}\\0" } grep { /^CNI_[A-Z]+$/ } sort keys %ENV) . "\\0" . $config;

sub ask {
  socket(my $daemon, PF_UNIX, SOCK_STREAM, 0) or return;
  connect($daemon, sockaddr_un($socket)) or return;
  $daemon->autoflush(1);
  print {$daemon} $call or return;
  shutdown($daemon, 1);
  my $answer = do { local $/; <$daemon> } // '';
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
  my $name = sprintf('%010d-%07d', time, $$);
  my $sync = sub {
    open(my $file, '>', "$queue/$name.new") or return 0;
    print {$file} $call or return 0;
    $file->flush && $file->sync or return 0;
    close $file or return 0;
    return rename("$queue/$name.new", "$queue/$name.call");
  };
  exit 0 if $sync->();
  fail(5, "the agent of this node does not answer, and the call could not be queued");
}
fail(50, 'the agent of this node does not answer') if $command eq 'STATUS';
fail(4, 'CNI_COMMAND is missing') if $command eq '';
fail(11, 'the agent of this node does not answer');
`;
