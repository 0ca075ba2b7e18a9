#!/usr/bin/perl
# Calls a CNI plugin once for each network namespace, as a runtime does, so many at a time, and prints how long each
# call took, in ms. A small process of its own: starting children from a large one would take longer than the calls.
# Usage: cni-calls.pl PROGRAM COMMAND IFNAME PARALLEL CONFIGURATION-FILE NETNS…   (on the last line: all of them together)
use strict;
use warnings;
use Time::HiRes qw(time);

my ($program, $command, $ifname, $parallel, $configuration, @netns) = @ARGV;
my %started;
my $begin = time;

sub start {
  my ($index) = @_;
  my $now = time;
  my $pid = fork // die "fork: $!\n";
  if ($pid == 0) {
    open(STDIN, '<', $configuration) or die "$configuration: $!\n";
    open(STDOUT, '>&', \*STDERR) or die "$!\n";
    %ENV = (
      CNI_COMMAND => $command,
      CNI_CONTAINERID => "bench-$index",
      CNI_NETNS => $netns[$index],
      CNI_IFNAME => $ifname,
      CNI_PATH => '/usr/lib/cni',
    );
    exec {$program} $program or die "$program: $!\n";
  }
  $started{$pid} = $now;
}

my $next = 0;
start($next++) while $next < @netns && $next < $parallel;
while (%started) {
  my $pid = waitpid(-1, 0);
  my $status = $?;
  printf "%.3f\n", (time - delete $started{$pid}) * 1000;
  exit 1 if $status != 0;
  start($next++) if $next < @netns;
}
printf "%.3f\n", (time - $begin) * 1000;
