# UDP of any size: `serve PORT` answers each datagram with one of the same length that begins with "PEER-ADDRESS LENGTH";
# `ask ADDRESS PORT LENGTH` prints that beginning and the length of the answer, or "timeout".
use strict;
use warnings;
use IO::Socket::IP;
use IO::Select;

my ($mode, @rest) = @ARGV;
$| = 1;
if ($mode eq 'serve') {
  my $socket = IO::Socket::IP->new(
    LocalHost => '::', LocalPort => $rest[0], Proto => 'udp', Type => SOCK_DGRAM, V6Only => 0,
  ) or die "udp: $@";
  print "listening\n";
  while (defined $socket->recv(my $data, 65_535)) {
    (my $peer = $socket->peerhost) =~ s{^::ffff:(?=[\d.]+$)}{};
    my $answer = $peer . ' ' . length($data) . "\n";
    $socket->send($answer . 'x' x (length($data) - length $answer));
  }
} else {
  my ($address, $port, $length) = @rest;
  my $socket = IO::Socket::IP->new(PeerHost => $address, PeerPort => $port, Proto => 'udp', Type => SOCK_DGRAM)
    or die "udp: $@";
  for (1 .. 5) {
    defined $socket->send('x' x $length) or die "send: $!";
    next unless IO::Select->new($socket)->can_read(1);
    $socket->recv(my $data, 65_535);
    my ($line) = split /\n/, $data;
    print $line, ' ', length($data), "\n";
    exit 0;
  }
  print "timeout\n";
}
