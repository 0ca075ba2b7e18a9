// The health check of each Service with externalTrafficPolicy Local: load balancers ask every node whether it has local
// endpoints (kubernetes pkg/proxy/healthcheck/service_health.go).
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Log } from '../../log/log.ts';
import type { Ip, Port } from '../../net/address.ts';
import type { ServicePortModel } from '../service-port.ts';

/** What a load balancer is told about a Service on this node. */
export interface HealthCheck {
  readonly port: Port;
  readonly namespace: string;
  readonly name: string;
  readonly localEndpoints: number;
}

/** The health check of a Service, where it has one. Pure. */
export function healthCheckOf(models: readonly ServicePortModel[]): HealthCheck | undefined {
  const found = models.find((model) => model.healthCheckNodePort !== undefined);
  if (found?.healthCheckNodePort === undefined) return undefined;
  const local = models.flatMap((model) => model.servingEndpoints.filter((one) => one.local && one.ready));
  const { namespace, name } = found.name;
  return { port: found.healthCheckNodePort, namespace, name, localEndpoints: new Set(local.map(({ ip }) => ip)).size };
}

/** The answer for a check. Pure. */
export function healthCheckAnswer(
  { namespace, name, localEndpoints }: HealthCheck,
  healthy: boolean,
): { readonly code: 200 | 503; readonly body: string } {
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: healthy };
  return { code: localEndpoints > 0 && healthy ? 200 : 503, body: JSON.stringify(body) };
}

interface Open {
  check: HealthCheck;
  readonly servers: readonly Server[];
}

export interface HealthCheckOptions {
  readonly addresses: readonly Ip[];
  /** Whether the proxy does its work, and load balancers may send connections to this node. */
  readonly isHealthy: () => boolean;
  /** Told when the port of a check cannot be opened. */
  readonly failed: (check: HealthCheck, problem: string) => void;
  readonly log: Log;
}

/** Keeps one HTTP server on each address of the node for each Service that has a health check. */
export class HealthCheckPorts {
  readonly #options: HealthCheckOptions;
  readonly #open = new Map<string, Open>();

  constructor(options: HealthCheckOptions) {
    this.#options = options;
  }

  /** Sets what a Service is now; `owner` is `namespace/name`. */
  set(owner: string, models: readonly ServicePortModel[]): void {
    const check = healthCheckOf(models);
    const open = this.#open.get(owner);
    if (open !== undefined && open.check.port !== check?.port) this.#close(owner, open);
    const still = this.#open.get(owner);
    if (still !== undefined && check !== undefined) still.check = check;
    else if (check !== undefined) this.#listen(owner, check);
  }

  stop(): void {
    for (const [owner, open] of this.#open) this.#close(owner, open);
  }

  #close(owner: string, { servers }: Open): void {
    this.#open.delete(owner);
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  #listen(owner: string, check: HealthCheck): void {
    const answer: RequestListener = (_request, response) => {
      const current = this.#open.get(owner)?.check ?? check;
      const { code, body } = healthCheckAnswer(current, this.#options.isHealthy());
      response.writeHead(code, {
        'content-type': 'application/json',
        'x-content-type-options': 'nosniff',
        'x-load-balancing-endpoint-weight': String(current.localEndpoints),
      });
      response.end(body);
    };
    const servers = this.#options.addresses.map((host) => {
      const server = createServer(answer);
      server.on('error', (error) => {
        this.#options.log.warn({ service: owner, port: check.port, error: String(error) }, 'no health check');
        this.#options.failed(check, String(error));
      });
      return server.listen({ host, port: check.port });
    });
    this.#open.set(owner, { check, servers });
  }
}
