# A peer for tests of packets. `serve NAME PORT` answers TCP and UDP with "NAME PEER-ADDRESS" and, over TCP, each further
# line; `ask PROTOCOL ADDRESS PORT` prints one answer, or "refused", "unreachable", "timeout".
use strict;
use warnings;
use IO::Socket::IP;
use IO::Select;

my ($mode, @rest) = @ARGV;
$| = 1;
if ($mode eq 'serve') {
  my ($name, $port) = @rest;
  my $host = $rest[2] // '0.0.0.0';
  my $tcp = IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Listen => 1024, ReuseAddr => 1) or die "tcp: $@";
  my $udp = IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Proto => 'udp', Type => SOCK_DGRAM) or die "udp: $@";
  my $select = IO::Select->new($tcp, $udp);
  print "listening\n";
  while (my @ready = $select->can_read) {
    for my $socket (@ready) {
      if ($socket == $tcp) {
        my $connection = $tcp->accept or next;
        $connection->autoflush(1);
        print $connection "$name " . $connection->peerhost . "\n";
        $select->add($connection);
      } elsif ($socket == $udp) {
        $udp->recv(my $text, 1500);
        $udp->send("$name " . $udp->peerhost . "\n");
      } else {
        my $count = sysread($socket, my $text, 1500);
        if ($count) { print $socket "$name $text" }
        else { $select->remove($socket); close $socket }
      }
    }
  }
} else {
  my ($protocol, $address, $port, $local) = @rest;
  my $socket = IO::Socket::IP->new(
    PeerHost => $address, PeerPort => $port, Proto => $protocol, Timeout => 2,
    Type => $protocol eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM,
    ($local ? (LocalPort => $local, ReuseAddr => 1) : ()),
  );
  if (!$socket) { print(($!{ECONNREFUSED} ? 'refused' : $!{ETIMEDOUT} ? 'timeout' : "unreachable"), "\n"); exit 0 }
  my $select = IO::Select->new($socket);
  $socket->send('x') if $protocol eq 'udp';
  if (!$select->can_read(2)) { print "timeout\n"; exit 0 }
  my $count = sysread($socket, my $text, 1500);
  print defined $count ? $text : "refused\n";
}
