// NetworkPolicies, Ingresses and IngressClasses (upstream pkg/apis/networking/validation/validation.go).
import { cidrContains, formatIp, parseCidr, parseIp, rangeOf } from '../../../net/address.ts';
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { protocols } from './container.ts';
import { validateLabelSelector } from './meta.ts';
import {
  cidrText,
  dns1035Label,
  dnsSubdomain,
  pathSegment,
  portName,
  portNumber,
  portReference,
  wildcardSubdomain,
} from './names.ts';
import { at, immutable, number, objects, type Report, text, texts } from './report.ts';

export function validateNetworkPolicy(report: Report, policy: Fields): void {
  const spec = at(policy, 'spec');
  validateLabelSelector(report, 'spec.podSelector', spec.podSelector);
  for (const [direction, peers] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    objects(spec, direction).forEach((rule, index) => {
      const place = `spec.${direction}[${index}]`;
      objects(rule, 'ports').forEach((port, position) => {
        validatePolicyPort(report, `${place}.ports[${position}]`, port);
      });
      objects(rule, peers).forEach((peer, position) => {
        validatePeer(report, `${place}.${peers}[${position}]`, peer);
      });
    });
  }
  const types = texts(spec, 'policyTypes');
  if (types.length > 2) report.invalid('spec.policyTypes', types, 'may not specify more than two policyTypes');
  types.forEach((type, index) => {
    report.oneOf(`spec.policyTypes[${index}]`, type, ['Egress', 'Ingress']);
  });
}

function validatePolicyPort(report: Report, path: string, port: Fields): void {
  report.oneOf(`${path}.protocol`, port.protocol, protocols);
  const end = number(port, 'endPort');
  if (port.port === undefined) {
    if (end !== undefined) report.required(`${path}.port`, 'must be specified when `endPort` is specified');
    return;
  }
  report.allInvalid(`${path}.port`, port.port, portReference(port.port));
  if (end === undefined) return;
  if (typeof port.port === 'number') {
    if (end < port.port) report.invalid(`${path}.endPort`, end, 'must be greater than or equal to `port`');
    if (end > 65535) report.invalid(`${path}.endPort`, end, 'must be between 1 and 65535, inclusive');
  } else {
    report.required(`${path}.endPort`, 'may not be specified when `port` is non-numeric');
  }
}

function validatePeer(report: Report, path: string, peer: Fields): void {
  validateLabelSelector(report, `${path}.podSelector`, peer.podSelector);
  validateLabelSelector(report, `${path}.namespaceSelector`, peer.namespaceSelector);
  if (isFields(peer.ipBlock)) {
    validateIpBlock(report, `${path}.ipBlock`, peer.ipBlock);
    if (isFields(peer.podSelector) || isFields(peer.namespaceSelector)) {
      report.forbidden(path, 'may not specify both ipBlock and another peer');
    }
  } else if (!isFields(peer.podSelector) && !isFields(peer.namespaceSelector)) {
    report.required(path, 'must specify a peer');
  }
}

function validateIpBlock(report: Report, path: string, block: Fields): void {
  const cidrValue = text(block, 'cidr');
  if (cidrValue === '') {
    report.required(`${path}.cidr`);
    return;
  }
  report.allInvalid(`${path}.cidr`, cidrValue, cidrText(cidrValue));
  const cidr = parseCidr(cidrValue);
  texts(block, 'except').forEach((except, index) => {
    const place = `${path}.except[${index}]`;
    report.allInvalid(place, except, cidrText(except));
    const hole = parseCidr(except);
    if (cidr === undefined || hole === undefined) return;
    const [outer, inner] = [rangeOf(cidr), rangeOf(hole)];
    const inside = outer.family === inner.family && cidrContains(cidr, formatIp(inner.first, inner.family));
    if (!inside || inner.prefix <= outer.prefix) report.invalid(place, except, `must be a strict subset of \`cidr\``);
  });
}

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];

export function validateIngress(report: Report, ingress: Fields): void {
  const spec = at(ingress, 'spec');
  const rules = objects(spec, 'rules');
  if (rules.length === 0 && !isFields(spec.defaultBackend)) {
    report.invalid('spec', rules, 'either `defaultBackend` or `rules` must be specified');
  }
  if (isFields(spec.defaultBackend)) validateBackend(report, 'spec.defaultBackend', spec.defaultBackend);
  rules.forEach((rule, index) => {
    const place = `spec.rules[${index}]`;
    validateHost(report, `${place}.host`, text(rule, 'host'));
    if (!isFields(rule.http)) return;
    const paths = objects(rule.http, 'paths');
    if (paths.length === 0) report.required(`${place}.http.paths`);
    paths.forEach((path, position) => {
      validateIngressPath(report, `${place}.http.paths[${position}]`, path);
    });
  });
  objects(spec, 'tls').forEach((tls, index) => {
    texts(tls, 'hosts').forEach((host, position) => {
      validateHost(report, `spec.tls[${index}].hosts[${position}]`, host);
    });
  });
  const className = text(spec, 'ingressClassName');
  if (className !== '') report.allInvalid('spec.ingressClassName', className, dnsSubdomain(className));
}

function validateHost(report: Report, path: string, host: string): void {
  if (host === '') return;
  if (parseIp(host) !== undefined) report.invalid(path, host, 'must be a DNS name, not an IP address');
  report.allInvalid(path, host, host.includes('*') ? wildcardSubdomain(host) : dnsSubdomain(host));
}

function validateIngressPath(report: Report, path: string, rule: Fields): void {
  const type = text(rule, 'pathType');
  const value = text(rule, 'path');
  if (type === '') report.required(`${path}.pathType`, 'pathType must be specified');
  else report.oneOf(`${path}.pathType`, type, pathTypes);
  if (type === 'Exact' || type === 'Prefix') {
    if (!value.startsWith('/')) report.invalid(`${path}.path`, value, 'must be an absolute path');
    for (const part of ['//', '/./', '/../', '%2f', '%2F']) {
      if (value.includes(part)) report.invalid(`${path}.path`, value, `must not contain '${part}'`);
    }
    for (const end of ['/..', '/.']) {
      if (value.endsWith(end)) report.invalid(`${path}.path`, value, `cannot end with '${end}'`);
    }
  } else if (type === 'ImplementationSpecific' && value !== '' && !value.startsWith('/')) {
    report.invalid(`${path}.path`, value, 'must be an absolute path');
  }
  if (isFields(rule.backend)) validateBackend(report, `${path}.backend`, rule.backend);
  else report.required(`${path}.backend`, 'cannot be empty');
}

function validateBackend(report: Report, path: string, backend: Fields): void {
  const { service, resource } = backend;
  if (isFields(service) && isFields(resource)) {
    report.invalid(path, '', 'cannot set both resource and service backends');
  } else if (isFields(service)) {
    const name = text(service, 'name');
    if (name === '') report.required(`${path}.service.name`);
    else report.allInvalid(`${path}.service.name`, name, dns1035Label(name));
    const port = at(service, 'port');
    const [portText, portValue] = [text(port, 'name'), number(port, 'number') ?? 0];
    if (portText !== '' && portValue !== 0) {
      report.invalid(path, '', 'cannot set both port name & port number');
    } else if (portText !== '') {
      report.allInvalid(`${path}.service.port.name`, portText, portName(portText));
    } else if (portValue !== 0) {
      report.allInvalid(`${path}.service.port.number`, portValue, portNumber(portValue));
    } else {
      report.required(path, 'port name or number is required');
    }
  } else if (!isFields(resource)) {
    report.required(path, 'resource or service backend is required');
  }
}

export function validateIngressClass(report: Report, ingressClass: Fields): void {
  const spec = at(ingressClass, 'spec');
  const controller = text(spec, 'controller');
  if (controller === '') report.required('spec.controller');
  else {
    if (controller.length > 250) report.tooLong('spec.controller', 250);
    if (!controller.includes('/'))
      report.invalid('spec.controller', controller, 'must be a domain-prefixed path (such as "acme.io/foo")');
    else report.allInvalid('spec.controller', controller, dnsSubdomain(controller.slice(0, controller.indexOf('/'))));
  }
  const parameters = spec.parameters;
  if (!isFields(parameters)) return;
  for (const field of ['kind', 'name']) {
    const value = text(parameters, field);
    if (value === '') report.required(`spec.parameters.${field}`, `${field} is required`);
    else report.allInvalid(`spec.parameters.${field}`, value, pathSegment(value));
  }
  report.oneOf('spec.parameters.scope', parameters.scope, ['Cluster', 'Namespace'], 'required');
  if (parameters.scope === 'Namespace' && text(parameters, 'namespace') === '') {
    report.required('spec.parameters.namespace', "`parameters.scope` is set to 'Namespace'");
  }
}

export function validateIngressClassUpdate(report: Report, ingressClass: Fields, old: Fields): void {
  const controller = at(ingressClass, 'spec').controller;
  if (controller !== at(old, 'spec').controller) report.invalid('spec.controller', controller, immutable);
}
