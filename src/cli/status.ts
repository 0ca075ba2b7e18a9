// weft status: the clusters of this machine, or one of them.
import { Command, Option } from 'commander';
import { type ClusterStatus, clusterStatus } from '../cluster/status.ts';
import { clusterNames, readSettings } from '../cluster/stored-settings.ts';
import { asIp, urlHost } from '../net/address.ts';
import { existingCluster } from './options.ts';
import { print, printJson, printTable } from './output.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('the nodes, processes and addresses of the clusters')
    .option('--name <name>', 'only this cluster')
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(async ({ name, output }: { name?: string; output?: 'json' }) => show(name, output === 'json'));
}

async function show(name: string | undefined, asJson: boolean): Promise<void> {
  if (name !== undefined) {
    const status = await statusOf(name);
    if (asJson) printJson(status);
    else printStatus(status);
    return;
  }
  const clusters: ClusterStatus[] = [];
  const problems: string[] = [];
  for (const one of clusterNames())
    try {
      if (readSettings(one) !== undefined) clusters.push(await statusOf(one));
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  if (asJson) printJson({ clusters });
  else if (clusters.length === 0 && problems.length === 0) print("There is no cluster; make one by './weft up'.");
  else
    for (const [index, status] of clusters.entries()) {
      if (index > 0) print('');
      printStatus(status);
    }
  // One that cannot be read hides no other.
  if (problems.length > 0) throw new Error(problems.join('; '));
}

function statusOf(name: string): Promise<ClusterStatus> {
  const { settings, layout } = existingCluster(name);
  return clusterStatus(settings, layout);
}

function printStatus(status: ClusterStatus): void {
  const { name, state, api, encrypted } = status;
  const how = {
    ready: `ready, API at ${api}`,
    starting: 'starting',
    stopped: `stopped; bring it back by './weft up --name ${name}'`,
  };
  print(`Cluster ${name}: ${how[state]}`);
  print('');
  printTable([
    ['Pods', status.podCidrs.join(', ')],
    ['Services', status.serviceCidrs.join(', ')],
    ['Load balancers', status.lbPool.replaceAll(',', ', ')],
    ['Fabric', `${status.fabric}${encrypted ? ', encrypted by WireGuard' : ''}`],
    ['Proxy mode', status.proxyMode],
    ['Kubeconfig', status.kubeconfig],
  ]);
  print('');
  printTable([
    ['NODE', 'ADDRESS', 'PODS', 'STATE'],
    ...status.nodes.map((node) => [node.name, node.addresses.join(','), node.podCidrs.join(','), node.state]),
  ]);
  print('');
  printTable([
    ['PROCESS', 'PID', 'RESTARTS'],
    ...status.processes.map(({ name, pid, restarts }) => [
      name,
      pid === undefined ? '-' : String(pid),
      String(restarts),
    ]),
  ]);
  if (status.loadBalancers.length > 0) {
    print('');
    printTable([
      ['LOAD BALANCER', 'ADDRESS', 'PORTS', 'ANNOUNCED BY'],
      ...status.loadBalancers.map(({ service, addresses, ports, announcedBy }) => [
        service,
        addresses.join(',') || '<pending>',
        ports.join(','),
        announcedBy.join(',') || '-',
      ]),
    ]);
  }
  if (status.nodePorts.length === 0) return;
  print('');
  printTable([
    ['SERVICE', 'NODEPORT', 'ON THE HOST'],
    ...status.nodePorts.map(({ service, protocol, nodePort, address, hostPort }) => [
      service,
      address === undefined ? `${nodePort}/${protocol}` : `${urlHost(asIp(address))}:${nodePort}/${protocol}`,
      hostPort === undefined ? 'not forwarded' : `127.0.0.1:${hostPort}`,
    ]),
  ]);
}
