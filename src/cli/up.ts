// weft up: makes a cluster, or brings one back.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { bringUp, checkMachine, isRunning } from '../cluster/create.ts';
import { identity, readAuthority, readKeyPair } from '../cluster/identities.ts';
import {
  changeKubeconfig,
  checkKubeconfig,
  contextName,
  mergeKubeconfig,
  userKubeconfig,
} from '../cluster/kubeconfig.ts';
import { type ClusterLayout, layoutOf } from '../cluster/layout.ts';
import { takeLock } from '../cluster/lock.ts';
import { defaultNodePortRange } from '../cluster/node-port-range.ts';
import {
  type ClusterSettings,
  checkName,
  decideSettings,
  defaultName,
  type GivenSettings,
  readGivenSettings,
  settingsInConflict,
} from '../cluster/settings.ts';
import { readSettings } from '../cluster/stored-settings.ts';
import { askSupervisor } from '../cluster/supervisor-socket.ts';
import { fabricKinds, ipvsSchedulers, proxyModes } from '../k8s/network-config.ts';
import { formatMs, print, Steps, UsageError } from './output.ts';

interface UpOptions extends GivenSettings {
  readonly config?: string;
  readonly kubeconfig?: string;
}

export function upCommand(): Command {
  return new Command('up')
    .description('make a cluster and wait until its nodes are Ready and its DNS answers')
    .option('--name <name>', `the cluster's name (default: ${defaultName})`)
    .option('--nodes <n>', 'how many nodes, the control plane included (default: 3)')
    .option('--pod-cidr <cidr[,cidr6]>', 'the addresses of pods (default: 10.244.0.0/16)')
    .option('--service-cidr <cidr[,cidr6]>', 'the addresses of Services (default: 10.96.0.0/16)')
    .option('--node-port-range <from-to>', `the node ports of Services (default: ${defaultNodePortRange})`)
    .option('--fabric <kind>', `how nodes reach the pods of others: ${fabricKinds.join(', ')} (default: host-gw)`)
    .option('--cross-subnet', 'with vxlan: no tunnels between nodes on one subnet')
    .option('--encrypt', 'with host-gw and vxlan: what pods say to other nodes is encrypted, by WireGuard')
    .option('--underlay-subnets <n>', 'how many subnets the nodes are on, joined by a router: 1 or 2 (default: 1)')
    .option(
      '--proxy-mode <mode>',
      `how Services are written into the kernel: ${proxyModes.join(', ')} (default: nftables)`,
    )
    .option(
      '--ipvs-scheduler <name>',
      `with ipvs: how one of several endpoints is chosen: ${ipvsSchedulers.join(', ')} (default: rr)`,
    )
    .option('--external-ips', 'Services may claim addresses by spec.externalIPs')
    .option(
      '--node-port-addresses <cidr[,cidr]>',
      "where on a node NodePorts are open (default: the node's own address, and 127.0.0.1)",
    )
    .option(
      '--lb-pool <range[,range6]|none>',
      "the addresses of load balancers (default: a range of the nodes' network)",
    )
    .option(
      '--dns-upstream <address[,address]>',
      "who answers pods for names outside of the cluster: DNS servers as 10.0.0.53, 10.0.0.53:5353 or tls://10.0.0.53%name, or 'host' for this machine's own resolver (default: nobody)",
    )
    .option('--api-port <port>', 'the port of the API server on 127.0.0.1 (default: any free one)')
    .option('--offline', 'no image pulls from outside registries (also: WEFT_OFFLINE=1)')
    .option('--config <file>', 'a YAML file with the same settings: name, nodes, podCidr, serviceCidr …')
    .option('--kubeconfig <file>', "write the access to this file (default: the user's kubeconfig)")
    .action(async ({ config, kubeconfig, ...options }: UpOptions) => {
      const given = { ...(config === undefined ? {} : await readConfigFile(config)), ...options };
      await up(given, kubeconfig === undefined ? userKubeconfig() : resolve(kubeconfig), new Steps());
    });
}

async function readConfigFile(file: string): Promise<GivenSettings> {
  const { parseDocument } = await import('yaml');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--config ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const document = parseDocument(text);
  const [wrong] = document.errors;
  if (wrong !== undefined)
    throw new UsageError(`--config ${file} is no YAML: ${(wrong.message.split('\n')[0] ?? '').replace(/:$/, '')}`);
  return readGivenSettings(document.toJS(), `--config ${file}`);
}

/** Makes the cluster and merges its access into a kubeconfig. Returns what it is then. */
export async function up(
  given: GivenSettings,
  kubeconfig: string,
  steps: Steps,
): Promise<{ settings: ClusterSettings; layout: ClusterLayout }> {
  const begin = performance.now();
  const name = checkName(given.name ?? defaultName);
  const existing = readSettings(name);
  const offline = given.offline === true || /^(1|true|yes)$/.test(process.env.WEFT_OFFLINE ?? '');
  if (existing !== undefined) refuseChanges(given, existing);
  const settings = existing ?? decideSettings({ ...given, name, offline });
  const layout = layoutOf(settings);
  if (existing !== undefined && (await isRunning(layout))) {
    print(`The cluster '${name}' runs already (${settings.nodes} nodes); nothing was changed.`);
    return { settings, layout };
  }
  checkKubeconfig(kubeconfig);
  await checkMachine(settings, layout);
  const lock = await takeLock(`command/${name}`);
  if (lock === undefined)
    throw new Error(`another './weft up' or './weft down' works on the cluster '${name}': wait for it`);
  try {
    steps.doing('Starting');
    await bringUp(settings, layout, (event) => {
      if (event.type === 'step') steps.done(event.text, event.ms);
      if (event.type === 'step') steps.doing('…');
    });
    await addAccess(layout, kubeconfig);
  } catch (error) {
    steps.end();
    throw error;
  } finally {
    lock.release();
  }
  steps.end();
  const port = (await askSupervisor(layout.supervisorSocket))?.apiPort;
  print(
    `The cluster '${name}' is ready after ${formatMs(performance.now() - begin)}: ${settings.nodes} nodes, API at https://127.0.0.1:${port}`,
  );
  print(`Try: kubectl --context ${contextName(name)} get pods -A -o wide`);
  return { settings, layout };
}

function refuseChanges(given: GivenSettings, existing: ClusterSettings): void {
  const differences = settingsInConflict(given, existing);
  if (differences.length > 0)
    throw new UsageError(
      `the cluster '${existing.name}' is there already and cannot be changed to ${differences.join(', ')}; remove it by './weft down --name ${existing.name}' first`,
    );
}

async function addAccess(layout: ClusterLayout, kubeconfig: string): Promise<void> {
  const status = await askSupervisor(layout.supervisorSocket);
  if (status === undefined) throw new Error('the supervisor has gone away');
  const { cert, key } = readKeyPair(layout, identity.admin);
  const access = {
    context: contextName(layout.name),
    server: `https://127.0.0.1:${status.apiPort}`,
    ca: readAuthority(layout),
    cert,
    key,
  };
  changeKubeconfig(kubeconfig, (text) => mergeKubeconfig(text, access));
}
