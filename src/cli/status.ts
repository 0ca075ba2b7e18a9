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
    .action(async ({ name, output }: { name?: string; output?: 'json' }) => {
      const names = name === undefined ? clusterNames().filter((one) => readSettings(one) !== undefined) : [name];
      const statuses: ClusterStatus[] = [];
      for (const one of names) {
        const { settings, layout } = existingCluster(one);
        statuses.push(await clusterStatus(settings, layout));
      }
      if (output === 'json') printJson(name === undefined ? { clusters: statuses } : statuses[0]);
      else if (statuses.length === 0) print("There is no cluster; make one by './weft up'.");
      else for (const [index, status] of statuses.entries()) printStatus(status, index > 0);
    });
}

function printStatus(status: ClusterStatus, blankBefore: boolean): void {
  if (blankBefore) print('');
  print(`Cluster ${status.name}: ${status.state}${status.api === undefined ? '' : `, API at ${status.api}`}`);
  print(
    `Pods ${status.podCidrs.join(', ')} · Services ${status.serviceCidrs.join(', ')} · load balancers ${status.lbPool}`,
  );
  print(`Fabric ${status.fabric} · proxy mode ${status.proxyMode}`);
  print(status.kubeconfig);
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
