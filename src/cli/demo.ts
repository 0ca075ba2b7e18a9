// weft demo: a cluster with the example application on it, and what to look at next.
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { userKubeconfig } from '../cluster/kubeconfig.ts';
import type { ClusterLayout } from '../cluster/layout.ts';
import { askSupervisor } from '../cluster/supervisor-socket.ts';
import { ensureImage } from '../images/build.ts';
import { ImageStore } from '../images/store.ts';
import type { Client } from '../k8s/client.ts';
import { fromKubeconfig } from '../k8s/connect.ts';
import { keyOf } from '../k8s/object.ts';
import { deployments, services } from '../k8s/resources.ts';
import { demoImages, demoObjects, webService } from './demo-objects.ts';
import { print, Steps } from './output.ts';
import { up } from './up.ts';

const patienceMs = 180_000;

export function demoCommand(): Command {
  return new Command('demo')
    .description('a cluster of three nodes with the example application, and ten commands that teach')
    .option('--offline', 'no image pulls from outside registries')
    .action(async ({ offline }: { offline?: boolean }) => demo(offline === true));
}

async function demo(offline: boolean): Promise<void> {
  const steps = new Steps();
  const store = new ImageStore();
  const images = (async () => {
    for (const name of demoImages) await ensureImage(name, store, (step) => steps.doing(step));
  })();
  images.catch(() => {});
  const { layout } = await up({ name: 'demo', ...(offline && { offline }) }, userKubeconfig(), steps);
  const timed = async (text: string, work: Promise<unknown>): Promise<void> => {
    const begin = performance.now();
    steps.doing(text);
    try {
      await work;
    } finally {
      steps.end();
    }
    steps.done(text, performance.now() - begin);
  };
  await timed('Images of the example, from Debian packages', images);
  const client = await fromKubeconfig(layout.kubeconfig);
  try {
    await timed('The application and its database', deploy(client));
    const address = await pageAddress(client, layout);
    await timed('The page answers', pageAnswers(address));
    await explain(client, address);
  } finally {
    await client.close();
  }
}

async function deploy(client: Client): Promise<void> {
  for (const { resource, object } of demoObjects()) {
    const { name = '', namespace } = object.metadata;
    await client.patch(
      resource,
      { name, namespace },
      { type: 'apply', body: object, fieldManager: 'weft-demo', force: true },
    );
  }
  const wanted = demoObjects().flatMap(({ object }) => (object.kind === 'Deployment' ? [keyOf(object)] : []));
  const cache = client.cache(deployments, { namespace: 'default' });
  try {
    await within(
      `the Deployments ${wanted.join(', ')} to be available (see: kubectl get pods -A)`,
      new Promise<void>((resolve) => {
        cache.subscribe(() => {
          const available = cache.list().filter(({ status }) => (status?.availableReplicas ?? 0) > 0);
          if (wanted.every((key) => available.some((one) => keyOf(one) === key))) resolve();
        });
      }),
    );
  } finally {
    cache.stop();
  }
}

async function within<T>(what: string, work: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const late = delay(patienceMs, undefined, { signal: ended.signal }).then(() => {
    throw new Error(`waited ${patienceMs / 1000} s in vain for ${what}`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    late.catch(() => {});
    ended.abort();
  }
}

/** Where the page is on the host. */
async function pageAddress(client: Client, layout: ClusterLayout): Promise<string> {
  const service = await client.get(services, webService);
  const nodePort = service.spec.ports?.[0]?.nodePort;
  const status = await askSupervisor(layout.supervisorSocket);
  const forward = status?.nodePorts.find((one) => one.nodePort === nodePort && one.protocol === 'TCP');
  if (forward?.hostPort === undefined)
    throw new Error(`the NodePort of Service ${keyOf(service)} is not open on the host`);
  return `http://127.0.0.1:${forward.hostPort}/`;
}

async function pageAnswers(address: string): Promise<void> {
  await within(
    `${address} to answer`,
    (async () => {
      while (!(await answers(address))) await delay(100);
    })(),
  );
}

/** Whether the page is there and reaches its database. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request(address, { agent: false, timeout: 5000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', () => resolve(false));
      response.on('end', () => resolve(response.statusCode === 200 && !text.includes('class="error"')));
    });
    sent.on('timeout', () => sent.destroy());
    sent.on('error', () => resolve(false));
    sent.end();
  });
}

async function explain(client: Client, address: string): Promise<void> {
  const web = (await client.get(services, webService)).spec.clusterIP ?? '';
  const commands: [string, string][] = [
    ['kubectl --context weft-demo get pods -A -o wide', 'every pod has an address of its own, on three nodes'],
    [
      './weft node exec control-plane --name demo -- ip route',
      "routes on a node: each other node's pods, by way of it",
    ],
    ['./weft node exec worker --name demo -- ip -brief link', 'the bridge weft0, and a veth pair for each pod'],
    ['./weft node exec worker --name demo -- bridge link', 'which veth is plugged into the bridge'],
    ['kubectl --context weft-demo get service,endpointslices', 'a Service, and the pods behind it'],
    [
      `./weft node exec worker --name demo -- sh -c 'nft list table ip weft-proxy | grep ${web}'`,
      'the rules of one Service in the kernel',
    ],
    [
      'kubectl --context weft-demo exec deployment/webapp1 -- host webapp-sql1.default.svc.cluster.local',
      'a lookup in cluster DNS, from a pod',
    ],
    ['kubectl --context weft-demo exec deployment/webapp1 -- cat /etc/resolv.conf', 'how a pod finds cluster DNS'],
    [
      'kubectl --context weft-demo scale deployment webapp1 --replicas 3',
      'three pods behind the page: reload it and look at its last line',
    ],
    ['./weft node exec worker --name demo -- conntrack -L --dst-nat', 'the connections that the kernel translates'],
  ];
  print('');
  print(`The page: ${address}`);
  print('');
  print('What to look at next:');
  for (const [command, meaning] of commands) print(`\n  # ${meaning}\n  ${command}`);
  print('\nRemove it all: ./weft down --name demo');
}
