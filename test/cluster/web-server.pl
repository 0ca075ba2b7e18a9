# A web server of one process for tests: each connection gets one small answer and is closed. Arguments: the port, and how
# many seconds it goes on serving after SIGTERM. With 0 it ends as programs do that nobody has taught better: at once,
# whoever waits in its queue.
use strict;
use warnings;
use Errno;
use Socket qw(:all);

my ($port, $linger) = @ARGV;
my $is_over = 0;
$SIG{TERM} = sub { $linger ? alarm $linger : exit 0 };
$SIG{ALRM} = sub { $is_over = 1 };
$SIG{PIPE} = 'IGNORE';
socket(my $server, AF_INET6, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1) or die "SO_REUSEADDR: $!";
setsockopt($server, IPPROTO_IPV6, IPV6_V6ONLY, 0) or die "IPV6_V6ONLY: $!";
bind($server, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die "bind: $!";
listen($server, 1024) or die "listen: $!";
my $body = ($ENV{HOSTNAME} // 'nobody') . "\n";
my $answer = "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body";
# It looks whether it is over now and then, also when nobody comes.
setsockopt($server, SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 1, 0)) or die "SO_RCVTIMEO: $!";
until ($is_over) {
  accept(my $client, $server) or next;
  # Whoever connects and asks nothing does not keep the others waiting for ever.
  setsockopt($client, SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 10, 0));
  my $length;
  do { $length = sysread($client, my $request, 4096) } until defined $length or !$!{EINTR};
  syswrite($client, $answer) if $length;
  close $client;
}
