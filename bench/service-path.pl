#!/usr/bin/perl
# The two ends of bench/service-path.ts. `serve HOST PORT` answers each connection with one byte and closes it;
# `ask HOST PORT SECONDS` makes one connection after another and prints: connections a second, p50, p99 in microseconds.
use strict;
use warnings;
use Socket qw(:all);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($mode, $host, $port, $seconds) = @ARGV;
my $name = pack_sockaddr_in($port, inet_aton($host));
if ($mode eq 'serve') {
    socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($listener, $name) or die "bind: $!";
    listen($listener, 1024) or die "listen: $!";
    syswrite(STDOUT, "ready\n");
    while (accept(my $client, $listener)) {
        syswrite($client, 'x');
        close($client);
    }
    exit;
}
my (@times, $now);
my $begin = $now = clock_gettime(CLOCK_MONOTONIC);
while ($now - $begin < $seconds) {
    my $start = $now;
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    connect($socket, $name) or die "connect to $host $port: $!";
    sysread($socket, my $byte, 1) or die "no answer from $host $port";
    $now = clock_gettime(CLOCK_MONOTONIC);
    push @times, $now - $start;
    # Ended by a reset, which leaves nothing behind: ports that wait for a minute would soon be all of them.
    setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    close($socket);
}
@times = sort { $a <=> $b } @times;
printf "%.1f %.1f %.1f\n", @times / ($now - $begin), 1e6 * $times[ @times / 2 ], 1e6 * $times[ @times * 0.99 ];
