// Services (upstream pkg/apis/core/validation/validation.go, ValidateService).
import { familyOf, parseIp } from '../../../net/address.ts';
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { protocols } from './container.ts';
import { validateLabels } from './meta.ts';
import {
  cidrText,
  dnsLabel,
  dnsSubdomain,
  ipAddress,
  portNumber,
  portReference,
  qualifiedName,
  targetAddress,
} from './names.ts';
import { at, immutable, number, objects, type Report, text, texts } from './report.ts';

const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];

export function validateService(report: Report, service: Fields): void {
  const spec = at(service, 'spec');
  const type = text(spec, 'type');
  const headless = text(spec, 'clusterIP') === 'None' || texts(spec, 'clusterIPs')[0] === 'None';
  const ports = objects(spec, 'ports');
  if (ports.length === 0 && !headless && type !== 'ExternalName') report.required('spec.ports');
  report.oneOf('spec.type', type, types, 'required');
  if (type === 'LoadBalancer' && headless) {
    report.invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for LoadBalancer services");
  }
  if (type === 'NodePort' && headless) {
    report.invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for NodePort services");
  }
  if (type === 'ExternalName') validateExternalName(report, spec);
  else validateClusterIps(report, spec);
  validatePorts(report, ports, type);
  validateLabels(report, 'spec.selector', spec.selector);
  validateAffinity(report, spec);
  validatePolicies(report, spec, type);
  validateLoadBalancer(report, spec, type);
  texts(spec, 'externalIPs').forEach((ip, index) => {
    report.allInvalid(`spec.externalIPs[${index}]`, ip, targetAddress(ip));
  });
  texts(spec, 'loadBalancerSourceRanges').forEach((range, index) => {
    report.allInvalid(`spec.loadBalancerSourceRanges[${index}]`, range, cidrText(range.trim()));
  });
  if (type !== 'LoadBalancer' && texts(spec, 'loadBalancerSourceRanges').length > 0) {
    report.forbidden('spec.loadBalancerSourceRanges', "may only be used when `type` is 'LoadBalancer'");
  }
}

/** The port on which kubelets listen: behind a load balancer it would open the nodes. */
const kubeletPort = 10250;

/** Fields that only a LoadBalancer has. */
function validateLoadBalancer(report: Report, spec: Fields, type: string): void {
  if (type === 'LoadBalancer') {
    objects(spec, 'ports').forEach((port, index) => {
      if (port.port === kubeletPort)
        report.invalid(
          `spec.ports[${index}].port`,
          kubeletPort,
          `may not expose port ${kubeletPort} externally since it is used by kubelet`,
        );
    });
    const className = spec.loadBalancerClass;
    if (className !== undefined)
      report.allInvalid('spec.loadBalancerClass', className, qualifiedName(String(className)));
    return;
  }
  for (const field of ['loadBalancerClass', 'allocateLoadBalancerNodePorts'])
    if (spec[field] !== undefined) report.forbidden(`spec.${field}`, "may only be used when `type` is 'LoadBalancer'");
}

function validateExternalName(report: Report, spec: Fields): void {
  if (texts(spec, 'clusterIPs').length > 0)
    report.forbidden('spec.clusterIPs', 'may not be set for ExternalName services');
  else if (text(spec, 'clusterIP') !== '')
    report.forbidden('spec.clusterIP', 'may not be set for ExternalName services');
  const name = text(spec, 'externalName');
  if (name === '') report.required('spec.externalName');
  else report.allInvalid('spec.externalName', name, dnsSubdomain(name.replace(/\.$/, '')));
}

/** The addresses and families of a Service, as far as they can be judged without knowing the cluster. */
export function validateClusterIps(report: Report, spec: Fields): void {
  const ips = texts(spec, 'clusterIPs');
  const first = text(spec, 'clusterIP');
  if (ips.length > 0 && first !== '' && ips[0] !== first) {
    report.invalid('spec.clusterIPs[0]', ips[0], 'must match `clusterIP`');
  }
  report.oneOf('spec.ipFamilyPolicy', spec.ipFamilyPolicy, ['PreferDualStack', 'RequireDualStack', 'SingleStack']);
  const families = texts(spec, 'ipFamilies');
  families.forEach((family, index) => {
    report.oneOf(`spec.ipFamilies[${index}]`, family, ['IPv4', 'IPv6']);
    if (families.indexOf(family) < index) report.duplicate(`spec.ipFamilies[${index}]`, family);
  });
  const all = ips.length > 0 ? ips : first === '' ? [] : [first];
  const found = all.map((ip, index) => {
    if (ip === 'None' && index === 0) return undefined;
    report.allInvalid(`spec.clusterIPs[${index}]`, ip, ipAddress(ip));
    const parsed = parseIp(ip);
    return parsed === undefined ? undefined : familyOf(parsed);
  });
  if (all[0] === 'None' && all.length > 1) {
    report.invalid('spec.clusterIPs', all, "'None' must be the first and only value");
  }
  if (all.length > 2) report.invalid('spec.clusterIPs', all, 'may only hold up to 2 values');
  else if (found[0] !== undefined && found[0] === found[1]) {
    report.invalid('spec.clusterIPs', all, 'may specify no more than one IP for each IP family');
  }
  found.forEach((family, index) => {
    const wanted = families[index];
    if (family === undefined || family === wanted || (wanted !== 'IPv4' && wanted !== 'IPv6')) return;
    report.invalid(
      `spec.clusterIPs[${index}]`,
      all[index],
      `expected an ${wanted} value as indicated by \`ipFamilies[${index}]\``,
    );
  });
}

function validatePorts(report: Report, ports: readonly Fields[], type: string): void {
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  ports.forEach((port, index) => {
    const place = `spec.ports[${index}]`;
    const name = text(port, 'name');
    if (name === '') {
      if (ports.length > 1) report.required(`${place}.name`);
    } else {
      report.allInvalid(`${place}.name`, name, dnsLabel(name));
      if (names.has(name)) report.duplicate(`${place}.name`, name);
      names.add(name);
    }
    const own = number(port, 'port') ?? 0;
    report.allInvalid(`${place}.port`, own, portNumber(own));
    report.oneOf(`${place}.protocol`, port.protocol, protocols, 'required');
    if (port.targetPort !== undefined && port.targetPort !== 0) {
      report.allInvalid(`${place}.targetPort`, port.targetPort, portReference(port.targetPort));
    }
    const node = number(port, 'nodePort') ?? 0;
    if (node !== 0 && (type === 'ClusterIP' || type === 'ExternalName')) {
      report.forbidden(`${place}.nodePort`, `may not be used when \`type\` is '${type}'`);
    }
    const protocol = text(port, 'protocol');
    if (numbers.has(`${protocol}/${own}`)) report.duplicate(place, { protocol, port: own });
    numbers.add(`${protocol}/${own}`);
    if (node !== 0) {
      if (nodePorts.has(`${protocol}/${node}`)) report.duplicate(`${place}.nodePort`, node);
      nodePorts.add(`${protocol}/${node}`);
    }
  });
}

/** One day, in seconds. */
const longestAffinity = 86400;

function validateAffinity(report: Report, spec: Fields): void {
  report.oneOf('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None'], 'required');
  if (spec.sessionAffinity === 'None' && isFields(spec.sessionAffinityConfig)) {
    report.forbidden('spec.sessionAffinityConfig', 'must not be set when session affinity is None');
  }
  const seconds = number(at(spec, 'sessionAffinityConfig', 'clientIP'), 'timeoutSeconds');
  if (seconds !== undefined && (seconds <= 0 || seconds > longestAffinity)) {
    report.invalid(
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
      seconds,
      `must be greater than 0 and less than ${longestAffinity}`,
    );
  }
}

function validatePolicies(report: Report, spec: Fields, type: string): void {
  report.oneOf('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']);
  const reachable = type === 'NodePort' || type === 'LoadBalancer' || texts(spec, 'externalIPs').length > 0;
  const policy = text(spec, 'externalTrafficPolicy');
  if (policy !== '' && !reachable) {
    report.invalid('spec.externalTrafficPolicy', policy, 'may only be set for externally-accessible services');
  } else {
    report.oneOf('spec.externalTrafficPolicy', policy, ['Cluster', 'Local']);
  }
  const healthPort = number(spec, 'healthCheckNodePort') ?? 0;
  if (healthPort !== 0 && !(type === 'LoadBalancer' && policy === 'Local'))
    report.invalid(
      'spec.healthCheckNodePort',
      healthPort,
      "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
    );
  report.oneOf('spec.trafficDistribution', spec.trafficDistribution, [
    'PreferClose',
    'PreferSameNode',
    'PreferSameZone',
  ]);
}

/** A Service keeps its addresses as long as it is of a type that has them; a load balancer its class and health port. */
export function validateServiceUpdate(report: Report, service: Fields, old: Fields): void {
  const [spec, before] = [at(service, 'spec'), at(old, 'spec')];
  validateBalancerUpdate(report, spec, before);
  if (spec.type === 'ExternalName' || before.type === 'ExternalName') return;
  const [now, then] = [addressesOf(spec), addressesOf(before)];
  if (then[0] !== undefined && now[0] !== then[0]) {
    report.invalid('spec.clusterIPs[0]', now, 'may not change once set');
  } else if (then[1] !== undefined && now[1] !== undefined && now[1] !== then[1]) {
    report.invalid('spec.clusterIPs[1]', now, 'may not change once set');
  }
  const [families, oldFamilies] = [texts(spec, 'ipFamilies'), texts(before, 'ipFamilies')];
  if (oldFamilies[0] !== undefined && !sameValue(families[0], oldFamilies[0])) {
    report.invalid('spec.ipFamilies[0]', families[0], 'may not change once set');
  }
}

function validateBalancerUpdate(report: Report, spec: Fields, before: Fields): void {
  if (spec.type !== 'LoadBalancer' || before.type !== 'LoadBalancer') return;
  if (spec.loadBalancerClass !== before.loadBalancerClass)
    report.invalid('spec.loadBalancerClass', spec.loadBalancerClass, 'may not change once set');
  if (spec.externalTrafficPolicy !== 'Local' || before.externalTrafficPolicy !== 'Local') return;
  if ((spec.healthCheckNodePort ?? 0) !== (before.healthCheckNodePort ?? 0))
    report.invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, immutable);
}

function addressesOf(spec: Fields): readonly string[] {
  const ips = texts(spec, 'clusterIPs');
  const first = text(spec, 'clusterIP');
  return ips.length > 0 ? ips : first === '' ? [] : [first];
}
