// Entry point of the control plane: API server, controllers, scheduler. Runs in the first node's namespaces.
import { startApiServer } from '../apiserver/server.ts';
import { identity, readAuthority, readKeyPair, readSigningKey } from '../cluster/identities.ts';
import { apiServerPort, clusterDomain } from '../cluster/layout.ts';
import { startControllers } from '../controllers/start.ts';
import { connect } from '../k8s/connect.ts';
import { startLoadBalancerController } from '../loadbalancer/controller.ts';
import { startScheduler } from '../scheduler/start.ts';
import { readClusterArguments } from './cluster-arguments.ts';
import { runProcess } from './run.ts';

await runProcess('control-plane', async (log) => {
  const { settings, layout, node } = readClusterArguments();
  const ca = readAuthority(layout);
  const signing = readSigningKey(layout);
  await startApiServer({
    dataFile: layout.database,
    listen: [
      ...node.addresses.map((host) => ({ host, port: apiServerPort })),
      { host: '127.0.0.1', port: apiServerPort },
      { path: layout.apiSocket },
    ],
    tls: { ...readKeyPair(layout, identity.apiServer), clientCa: ca },
    serviceAccount: { ...signing, issuer: `https://kubernetes.default.svc.${clusterDomain}` },
    serviceCidrs: settings.serviceCidrs,
    nodePortRange: settings.nodePortRange,
    advertise: { addresses: node.addresses, port: apiServerPort },
    kubelet: { ca, ...readKeyPair(layout, identity.kubeletClient) },
    log: log.child({ part: 'apiserver' }),
  });
  const clientFor = (name: string, userAgent: string) => {
    const onProblem = (problem: string): void => log.warn({ part: userAgent, problem }, 'API');
    const { cert, key } = readKeyPair(layout, name);
    return connect({
      server: `https://127.0.0.1:${apiServerPort}`,
      socketPath: layout.apiSocket,
      ca,
      cert,
      key,
      userAgent,
      onProblem,
    });
  };
  await Promise.all([
    startControllers({
      client: clientFor(identity.controllers, 'kube-controller-manager'),
      clusterCidrs: settings.podCidrs,
      expectedNodes: layout.nodes.map(({ name }) => name),
      nodePortRange: settings.nodePortRange,
      serviceAccountRootCa: ca,
      log: log.child({ part: 'controllers' }),
    }),
    startLoadBalancerController({
      client: clientFor(identity.controllers, 'weft-load-balancer'),
      log: log.child({ part: 'load-balancer' }),
    }),
    startScheduler({
      client: clientFor(identity.scheduler, 'kube-scheduler'),
      log: log.child({ part: 'scheduler' }),
    }),
  ]);
  return { layout, guardedAs: 'control-plane' };
});
