# A server for tests of packets over SCTP, which Perl's modules of sockets do not know. Arguments: NAME ADDRESS PORT. It
# answers each association with "NAME PEER-ADDRESS".
use strict;
use warnings;
use IO::Select;
use Socket qw(:all);

my ($name, $address, $port) = @ARGV;
my $sctp = 132;
$| = 1;
my ($family, $local) = $address =~ /:/
  ? (AF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)))
  : (AF_INET, pack_sockaddr_in($port, inet_aton($address)));
socket(my $listener, $family, SOCK_STREAM, $sctp) or die "socket: $!";
bind($listener, $local) or die "bind: $!";
listen($listener, 16) or die "listen: $!";
print "listening\n";
my $open = IO::Select->new($listener);
while (my @ready = $open->can_read) {
  for my $socket (@ready) {
    if ($socket != $listener) {
      # The client ends it, so that what it was told has arrived.
      $open->remove($socket);
      close $socket;
      next;
    }
    my $peer = accept(my $association, $listener) or next;
    my $host = $family == AF_INET6
      ? inet_ntop(AF_INET6, (unpack_sockaddr_in6($peer))[1])
      : inet_ntoa((unpack_sockaddr_in($peer))[1]);
    syswrite($association, "$name $host\n");
    $open->add($association);
  }
}
