# Asks many questions at once from one namespace. Standard input: lines `ID PROTOCOL ADDRESS PORT [FROM]`; one line of output for
# each, as it is known: `ID` with the answer of the server (see peer.pl), or `refused`, `unreachable`, `timeout`, `denied`
# (the own kernel lets it not go out). Over UDP the question is sent again now and then, as TCP does by itself.
# The first argument is the address to ask from where a question has none (`-`: whichever the kernel chooses), the second
# one is that of IPv6.
use strict;
use warnings;
use Errno;
use IO::Select;
use Socket qw(:all);
use Time::HiRes qw(time);

my ($from4, $from6) = @ARGV;
my ($patience, $interval) = (3, 0.5);
my %numbers = (tcp => 6, udp => 17, sctp => 132);
$| = 1;
my (%asked, $input);
my ($reading, $writing) = (IO::Select->new(\*STDIN), IO::Select->new);
my $is_open = 1;

sub answer {
  my ($fd, $text) = @_;
  my $one = delete $asked{$fd};
  $reading->remove($one->{socket});
  $writing->remove($one->{socket});
  close $one->{socket};
  print "$one->{id} $text\n";
}

sub failed {
  my ($fd) = @_;
  answer($fd, $!{ECONNREFUSED} ? 'refused' : $!{EPERM} ? 'denied' : $!{ETIMEDOUT} ? 'timeout' : 'unreachable');
}

sub ask {
  my ($id, $protocol, $address, $port, $local) = @_;
  my $six = $address =~ /:/;
  my $from = $local // ($six ? $from6 : $from4) // '-';
  my $to = $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
  socket(my $socket, $six ? AF_INET6 : AF_INET, $protocol eq 'udp' ? SOCK_DGRAM : SOCK_STREAM, $numbers{$protocol}) or die "socket: $!";
  $socket->blocking(0);
  if ($from ne '-') {
    bind($socket, $six ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $from)) : pack_sockaddr_in(0, inet_aton($from))) or die "bind: $!";
  }
  my $fd = fileno $socket;
  $asked{$fd} = { id => $id, socket => $socket, until => time + $patience };
  if (!connect($socket, $to) && !$!{EINPROGRESS}) { return failed($fd) }
  if ($protocol eq 'udp') {
    send($socket, 'x', 0) // return failed($fd);
    $asked{$fd}{again} = time + $interval;
    $reading->add($socket);
  }
  else { $writing->add($socket) }
}

while ($is_open || %asked) {
  my ($readable, $writable) = IO::Select::select($reading, $writing, undef, 0.25);
  for my $socket (@{ $writable // [] }) {
    my $fd = fileno $socket;
    $! = unpack 'i', getsockopt($socket, SOL_SOCKET, SO_ERROR);
    if ($!) { failed($fd); next }
    $writing->remove($socket);
    $reading->add($socket);
  }
  for my $socket (@{ $readable // [] }) {
    my $fd = fileno $socket;
    my $count = sysread($socket, my $text, 65536);
    if ($fd == 0) {
      if (!$count) { $is_open = 0; $reading->remove(\*STDIN); next }
      $input .= $text;
      ask(split / /, $1) while $input =~ s/^(.*)\n//;
    } elsif (!defined $count) { failed($fd) }
    elsif ($count == 0) { answer($fd, 'refused') }
    else { chomp $text; answer($fd, $text) }
  }
  my $now = time;
  for my $fd (keys %asked) {
    my $one = $asked{$fd};
    if ($one->{until} < $now) { answer($fd, 'timeout') }
    elsif ($one->{again} && $one->{again} < $now) {
      $one->{again} = $now + $interval;
      send($one->{socket}, 'x', 0) // failed($fd);
    }
  }
}
