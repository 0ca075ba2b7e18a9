// What others can learn of the proxy: its metrics, its health, and the health checks of Services.
import type { Server } from 'node:http';
import type { Change } from '../../k8s/client.ts';
import type { EndpointSlice, Node } from '../../k8s/types.generated.ts';
import type { Log } from '../../log/log.ts';
import { type Family, familyOf, type Ip } from '../../net/address.ts';
import type { ServicePortModel } from '../service-port.ts';
import type { SyncObserver } from '../sync.ts';
import type { ProxyMode } from '../writer.ts';
import { isEligible, ProxyHealth } from './health.ts';
import { type HealthCheck, HealthCheckPorts } from './health-check-ports.ts';
import { ProxyMetrics } from './metrics.ts';
import { ProgrammingLatency } from './programming-latency.ts';
import { healthPort, metricsPort, type Page, servePages } from './servers.ts';

export interface StatusOptions {
  readonly nodeAddresses: readonly Ip[];
  readonly mode: () => ProxyMode;
  /** Told when the port of a Service's health check cannot be opened. */
  readonly healthCheckFailed: (check: HealthCheck, problem: string) => void;
  readonly log: Log;
}

export class ProxyStatus implements SyncObserver {
  readonly #options: StatusOptions;
  readonly #metrics: ProxyMetrics;
  readonly #health = new ProxyHealth();
  readonly #latency: ProgrammingLatency;
  readonly #startedAt = Date.now();
  readonly #checks: HealthCheckPorts;
  #servers: readonly Server[] = [];

  constructor(options: StatusOptions) {
    this.#options = options;
    const { log, nodeAddresses: addresses } = options;
    const families = new Set<Family>(addresses.map(familyOf));
    this.#metrics = new ProxyMetrics([...families]);
    this.#latency = new ProgrammingLatency(this.#startedAt);
    this.#checks = new HealthCheckPorts({
      addresses,
      isHealthy: () => this.#health.isHealthy(Date.now()) && this.#health.eligible,
      failed: options.healthCheckFailed,
      log,
    });
  }

  /** Opens the ports for metrics and health; they close with `stop`. */
  serve(): void {
    const { log } = this.#options;
    const health = (path: 'healthz' | 'livez') => (): Page => {
      const { code, body } = this.#health.answer(path, Date.now());
      this.#metrics.answered(path, code);
      return { code, type: 'application/json', body };
    };
    const text = (body: string): Page => ({ code: 200, type: 'text/plain; charset=utf-8', body });
    this.#servers = [
      servePages(
        metricsPort,
        {
          '/metrics': () => ({ ...text(this.#page()), type: 'text/plain; version=0.0.4; charset=utf-8' }),
          '/proxyMode': () => text(this.#options.mode()),
          '/healthz': () => text('ok'),
        },
        log,
      ),
      servePages(healthPort, { '/healthz': health('healthz'), '/livez': health('livez') }, log),
    ];
  }

  #page(): string {
    const { user, system } = process.cpuUsage();
    const residentBytes = process.memoryUsage.rss();
    return this.#metrics.text({ startedAt: this.#startedAt, cpuSeconds: (user + system) / 1e6, residentBytes });
  }

  serviceChanged(owner: string): void {
    this.#metrics.queued(owner, 'service');
  }

  slicesChanged(change: Change<EndpointSlice>, owners: ReadonlySet<string>): void {
    this.#latency.saw(change, owners);
    for (const owner of owners) this.#metrics.queued(owner, 'endpoint');
  }

  nodeChanged(node: Node | undefined): void {
    this.#health.setEligible(isEligible(node));
  }

  queued(): void {
    this.#health.queued(Date.now());
  }

  decided(owner: string, models: readonly ServicePortModel[]): void {
    this.#metrics.decided(owner, models);
    this.#checks.set(owner, models);
  }

  written(owners: readonly string[], seconds: number, full: boolean): void {
    const now = Date.now();
    this.#health.written(now);
    this.#metrics.synced(seconds, full);
    for (const { seconds: took, family } of this.#latency.written(owners, now)) this.#metrics.programmed(took, family);
  }

  failed(): void {
    this.#metrics.failed(this.#options.mode());
  }

  cleanUpFailed(): void {
    this.#metrics.cleanUpFailed(this.#options.mode());
  }

  flowsForgotten(seconds: number): void {
    this.#metrics.conntrackReconciled(seconds);
  }

  stop(): void {
    this.#checks.stop();
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }
}
