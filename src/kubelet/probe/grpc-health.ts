// The gRPC health check of probes (grpc.health.v1.Health/Check).
import * as grpc from '@grpc/grpc-js';
import { decode, encode } from '../cri/codec.ts';
import type { Message, Request } from '../cri/protocol.ts';
import type { ProbeOutcome } from './run.ts';

/** Asks a server for the health of one of its services; rejects never. */
export function checkGrpcHealth(host: string, port: number, service: string, timeoutMs: number): Promise<ProbeOutcome> {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
  });
  return new Promise((resolve) => {
    client.makeUnaryRequest<Request<'HealthCheckRequest'>, Message<'HealthCheckResponse'>>(
      '/grpc.health.v1.Health/Check',
      (value) => encode('HealthCheckRequest', value),
      (bytes) => decode('HealthCheckResponse', bytes),
      { service },
      new grpc.Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        client.close();
        if (error?.code === grpc.status.UNIMPLEMENTED)
          resolve({
            success: false,
            output: `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${error.details}`,
          });
        else if (error !== null)
          resolve({ success: false, output: `error: health rpc probe failed: ${error.details}` });
        else if (response?.status === 'SERVING') resolve({ success: true, output: 'service healthy' });
        else resolve({ success: false, output: `service unhealthy (responded with "${response?.status}")` });
      },
    );
  });
}
