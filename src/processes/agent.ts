// Entry point of a node's agent: kubelet, CNI daemon, fabric, service proxy, load balancers. Runs in the node's namespaces.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { listening, relayServer } from '../cluster/byte-relay.ts';
import { containerdSocket, pauseImage, proxyPort, registryPort } from '../cluster/containerd-config.ts';
import { createDialServer } from '../cluster/dial.ts';
import { listenForUpstreams } from '../cluster/dns-relay.ts';
import { relayedAddresses } from '../cluster/dns-settings.ts';
import { identity, readAuthority, readKeyPair } from '../cluster/identities.ts';
import { apiServerPort, clusterDomain, dnsAddresses, kubeletPort } from '../cluster/layout.ts';
import { readProcessFile } from '../cluster/process-file.ts';
import { nodeProcesses } from '../cluster/process-plans.ts';
import { keepSegmentRoutes, segmentRoutes } from '../cluster/segment-routes.ts';
import { startCniDaemon } from '../cni/daemon.ts';
import { startFabric } from '../fabric/start.ts';
import { connect } from '../k8s/connect.ts';
import { shareCaches } from '../k8s/shared-caches.ts';
import { startKubelet } from '../kubelet/start.ts';
import { startAnnouncer } from '../loadbalancer/announcer.ts';
import type { Log } from '../log/log.ts';
import { urlHost } from '../net/address.ts';
import { startProxy } from '../proxy/start.ts';
import { type ClusterArguments, readClusterArguments } from './cluster-arguments.ts';
import { runProcess } from './run.ts';

await runProcess('agent', async (log) => {
  const cluster = readClusterArguments();
  const { settings, layout, node } = cluster;
  await startRelays(cluster, log);
  const ca = readAuthority(layout);
  const control = layout.nodes[0] ?? node;
  const own = connect({
    server: `https://${urlHost(control.addresses[0])}:${apiServerPort}`,
    ca,
    ...readKeyPair(layout, identity.agent(node)),
    userAgent: 'weft-agent',
    onProblem: (problem) => log.warn({ problem }, 'API'),
  });
  // Several of its parts follow the same objects.
  const client = shareCaches(own);
  keepSegmentRoutes(segmentRoutes(settings, node.segment), log);
  const common = { client, nodeName: node.name, clusterCidrs: settings.podCidrs };
  await Promise.all([
    startKubelet({
      client,
      nodeName: node.name,
      nodeAddresses: node.addresses,
      controlPlane: node.controlPlane,
      runtimeSocket: containerdSocket,
      rootDir: '/var/lib/kubelet',
      podLogsDir: '/var/log/pods',
      clusterDns: dnsAddresses(settings),
      clusterDomain,
      cgroupRoot: `/${node.cgroup}`,
      serving: { ...readKeyPair(layout, identity.kubelet(node)), clientCa: ca },
      port: kubeletPort,
      sandboxImage: pauseImage,
      restartRuntime: () => endContainerd(cluster),
      log: log.child({ part: 'kubelet' }),
    }),
    startCniDaemon({
      ...common,
      socketPath: '/run/weft/cni.sock',
      stateDir: '/var/lib/cni',
      confDir: '/etc/cni/net.d',
      binDir: '/opt/cni/bin',
      // Pods and nodes see each other untranslated, on all subnets of the underlay.
      masquerade: { except: settings.underlay },
      log: log.child({ part: 'cni' }),
    }),
    startFabric({ ...common, stateDir: join(node.state, 'fabric'), log: log.child({ part: 'fabric' }) }),
    startProxy({
      ...common,
      nodeAddresses: node.addresses,
      serviceCidrs: settings.serviceCidrs,
      serveStatus: true,
      defaultMode: settings.proxyMode,
      externalIps: settings.externalIps,
      ...(settings.nodePortAddresses !== undefined && { nodePortRanges: settings.nodePortAddresses }),
      log: log.child({ part: 'proxy' }),
    }),
  ]);
  startAnnouncer({ ...common, nodeAddresses: node.addresses, log: log.child({ part: 'load-balancer' }) });
  return { layout, guardedAs: `${node.role}/agent` };
});

/** The supervisor starts it anew at once. */
function endContainerd({ layout, node }: ClusterArguments): void {
  const containerd = readProcessFile(layout.pids, nodeProcesses.containerd(node));
  if (containerd !== undefined) process.kill(containerd.pid, 'SIGTERM');
}

/** What the node's containerd and the host's side reach through this process. */
async function startRelays({ settings, layout, node }: ClusterArguments, log: Log): Promise<void> {
  rmSync(node.dialSocket, { force: true });
  await Promise.all([
    listening(relayServer({ path: layout.registrySocket }), { host: '127.0.0.1', port: registryPort }),
    listening(relayServer({ path: layout.proxySocket }), { host: '127.0.0.1', port: proxyPort }),
    listening(createDialServer(), { path: node.dialSocket }),
    listenForUpstreams(relayedAddresses(settings, settings), layout.dnsRelaySocket, log),
  ]);
}
