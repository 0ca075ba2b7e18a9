// The way to a cluster's API server from the host, with all rights: over its Unix socket.
import type { Client } from '../k8s/client.ts';
import { connect } from '../k8s/connect.ts';
import { identity, readAuthority, readKeyPair } from './identities.ts';
import { apiServerPort, type ClusterLayout } from './layout.ts';

export function adminClient(layout: ClusterLayout, userAgent: string): Client {
  const { cert, key } = readKeyPair(layout, identity.admin);
  return connect({
    server: `https://127.0.0.1:${apiServerPort}`,
    socketPath: layout.apiSocket,
    ca: readAuthority(layout),
    cert,
    key,
    userAgent,
  });
}
