// What every exporter of Prometheus says of its own process, under the names that its client libraries share.
import { readdirSync, readFileSync } from 'node:fs';
import type { Registry } from './registry.ts';

/** Adds the families; the function that it returns reads them anew. */
export function processMetrics(registry: Registry): () => void {
  const gauge = (name: string, help: string) => registry.gauge(name, help).cell();
  const cpu = registry.counter('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.').cell();
  const resident = gauge('process_resident_memory_bytes', 'Resident memory size in bytes.');
  const virtual = gauge('process_virtual_memory_bytes', 'Virtual memory size in bytes.');
  const open = gauge('process_open_fds', 'Number of open file descriptors.');
  const most = gauge('process_max_fds', 'Maximum number of open file descriptors.');
  const started = gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.');
  const waiting = gauge(
    'go_goroutines',
    'This is no Go program: the number of sockets, timers and requests that it waits for at the moment.',
  );
  started.value = performance.timeOrigin / 1000;
  most.value = Number(/^Max open files\s+(\d+)/m.exec(read('/proc/self/limits'))?.[1] ?? 0);
  return () => {
    const { user, system } = process.cpuUsage();
    cpu.value = (user + system) / 1e6;
    resident.value = process.memoryUsage.rss();
    virtual.value = Number(/^VmSize:\s+(\d+)/m.exec(read('/proc/self/status'))?.[1] ?? 0) * 1024;
    open.value = count('/proc/self/fd');
    waiting.value = process.getActiveResourcesInfo().length;
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function count(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0;
  }
}
