// log, exec, attach, port-forward and proxy: where the request goes, and what is wrong with it if it cannot.
import type { Duplex } from 'node:stream';
import type { EndpointSlice, Node, Pod, Service } from '../../k8s/types.generated.ts';
import type { Api, Call } from '../api.ts';
import { type Kind, resourceOf, shelves } from '../kinds.ts';
import { type ApiObject, typed } from '../object.ts';
import { find } from '../read.ts';
import { badRequest, internal, methodNotAllowed, notFound, serviceUnavailable } from '../schema/errors.ts';
import {
  type BackendTls,
  kubeletLogPath,
  kubeletStreamPath,
  proxyHttp,
  proxyToKubelet,
  proxyUpgrade,
  type StreamKind,
  type Target,
} from '../streaming/proxy.ts';

/** The connection of an Upgrade request. */
export interface Upgrade {
  readonly socket: Duplex;
  readonly head: Buffer;
}

export const isStream = (subresource: string): subresource is StreamKind =>
  subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';

/** The kubelet of a node: its internal address and the port that its Node object names. */
function kubeletOf(api: Api, nodeName: string, path: string): Target {
  const stored = api.storage.get(shelves.nodes, '', nodeName);
  if (stored === undefined) throw notFound({ group: '', resource: 'nodes' }, nodeName);
  const { status } = typed<Node>(stored);
  const host = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  if (host === undefined) throw internal(`node ${nodeName} has no InternalIP address in its status`);
  return { host, port: status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 10250, path };
}

/** The container that is meant: the named one, the annotated default, or the only one. */
function containerOf(pod: Pod, wanted: string | null): string {
  const { name = '' } = pod.metadata;
  const { containers: main, initContainers = [], ephemeralContainers = [] } = pod.spec;
  const containers = [...main, ...initContainers, ...ephemeralContainers].map((one) => one.name);
  if (wanted) {
    if (!containers.includes(wanted)) throw badRequest(`container ${wanted} is not valid for pod ${name}`);
    return wanted;
  }
  const annotated = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  if (annotated !== undefined && containers.includes(annotated)) return annotated;
  const [first = '', ...others] = pod.spec.containers.map((one) => one.name);
  if (others.length === 0) return first;
  const init = (pod.spec.initContainers ?? []).map((one) => one.name);
  const choices = `choose one of: [${[first, ...others].join(' ')}]${init.length > 0 ? ` or one of the init containers: [${init.join(' ')}]` : ''}`;
  throw badRequest(`a container name must be specified for pod ${name}, ${choices}`);
}

function scheduled(pod: Pod): string {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
}

/** GET pods/x/log. */
export function streamLog(api: Api, kind: Kind, call: Call, tls: BackendTls): void {
  const { namespace, name } = call.info;
  const pod = typed<Pod>(find(api, kind, namespace, name));
  const container = containerOf(pod, call.query.get('container'));
  if (!pod.spec.nodeName) {
    // As upstream: the log of a pod that is not on a node yet is empty.
    call.response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 0 }).end();
    return;
  }
  const target = kubeletOf(api, pod.spec.nodeName, kubeletLogPath(namespace, name, container, call.query));
  proxyHttp({ req: call.request, res: call.response, target, tls });
}

/** exec, attach and port-forward on an upgraded connection. Throws before it has written anything to the socket. */
export function streamPod(api: Api, kind: Kind, call: Call, tls: BackendTls, { socket, head }: Upgrade): void {
  const { namespace, name, subresource } = call.info;
  if (!isStream(subresource)) throw badRequest(`${subresource} does not take an upgraded connection`);
  const pod = typed<Pod>(find(api, kind, namespace, name));
  const { phase } = pod.status ?? {};
  if (subresource !== 'portforward' && (phase === 'Succeeded' || phase === 'Failed'))
    throw internal(`cannot exec into a container in a completed pod; current phase is ${phase}`);
  const container = subresource === 'portforward' ? {} : { container: containerOf(pod, call.query.get('container')) };
  const path = kubeletStreamPath({ kind: subresource, namespace, pod: name, query: call.query, ...container });
  const target = kubeletOf(api, scheduled(pod), path);
  proxyToKubelet({ req: call.request, socket, head, target, tls, kind: subresource });
}

/** `scheme:name:port` as proxies are addressed: every part but the name may be left out. */
function parseProxyName(text: string): { scheme: string; name: string; port: string } {
  const parts = text.split(':');
  if (parts.length === 1) return { scheme: '', name: text, port: '' };
  if (parts.length === 2) return { scheme: '', name: parts[0] ?? '', port: parts[1] ?? '' };
  const [scheme = '', name = '', port = ''] = parts;
  if (parts.length > 3 || !['', 'http', 'https'].includes(scheme)) throw badRequest(`invalid proxy name "${text}"`);
  return { scheme, name, port };
}

function numberedPort(pod: Pod, port: string): number {
  if (/^\d+$/.test(port)) return Number(port);
  const ports = pod.spec.containers.flatMap((container) => container.ports ?? []);
  const found = port === '' ? ports[0] : ports.find(({ name }) => name === port);
  return found?.containerPort ?? (port === '' ? 80 : 0);
}

function podTarget(pod: Pod, port: string, path: string): Target {
  const host = pod.status?.podIP;
  if (!host) throw badRequest(`pod ${pod.metadata.name} has no address yet`);
  return { host, port: numberedPort(pod, port), path };
}

/** A ready endpoint of the Service's port (by name or number). */
function serviceTarget(api: Api, stored: ApiObject, port: string, path: string): Target {
  const service = typed<Service>(stored);
  const { name = '', namespace = '' } = service.metadata;
  const ports = service.spec.ports ?? [];
  const chosen = port === '' ? ports[0] : ports.find((one) => one.name === port || String(one.port) === port);
  if (chosen === undefined || (port === '' && ports.length > 1))
    throw serviceUnavailable(`no service port "${port}" found for service "${name}"`);
  for (const object of api.storage.list(shelves.endpointSlices, namespace)) {
    const slice = typed<EndpointSlice>(object);
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== name) continue;
    const target = slice.ports?.find((one) => (one.name ?? '') === (chosen.name ?? ''))?.port;
    const host = slice.endpoints?.find(({ conditions }) => conditions?.ready !== false)?.addresses[0];
    if (host !== undefined && target !== undefined) return { host, port: target, path };
  }
  throw serviceUnavailable(`no endpoints available for service "${name}"`);
}

/** nodes/proxy, pods/proxy and services/proxy: plain and upgraded requests. */
export function proxy(api: Api, kind: Kind, call: Call, tls: BackendTls, upgrade?: Upgrade): void {
  const { namespace, rest } = call.info;
  const { name, port, scheme } = parseProxyName(call.info.name);
  const query = call.query.toString();
  const path = `/${rest}${query === '' ? '' : `?${query}`}`;
  const toKubelet = kind.storage === shelves.nodes;
  let target: Target;
  if (toKubelet) target = kubeletOf(api, name, path);
  else if (kind.storage === shelves.pods) target = podTarget(typed<Pod>(find(api, kind, namespace, name)), port, path);
  else if (kind.storage === shelves.services) target = serviceTarget(api, find(api, kind, namespace, name), port, path);
  else throw methodNotAllowed(resourceOf(kind), 'proxy');
  const backend = toKubelet
    ? { target, tls }
    : { target: { ...target, scheme: scheme === 'https' ? ('https' as const) : ('http' as const) } };
  if (upgrade !== undefined) proxyUpgrade({ req: call.request, ...upgrade, ...backend });
  else proxyHttp({ req: call.request, res: call.response, ...backend });
}
