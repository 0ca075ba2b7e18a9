// Endpoints and EndpointSlices (upstream pkg/apis/{core,discovery}/validation).
import { familyOf, parseIp } from '../../../net/address.ts';
import type { Fields } from '../node.ts';
import { protocols } from './container.ts';
import { validateLabels } from './meta.ts';
import { dnsLabel, dnsSubdomain, portNumber, targetAddress } from './names.ts';
import { immutable, number, objects, type Report, text, texts } from './report.ts';

/** How much one slice may hold. */
const limits = { endpoints: 1000, ports: 20_000, addresses: 100 };

export function validateEndpoints(report: Report, endpoints: Fields): void {
  objects(endpoints, 'subsets').forEach((subset, index) => {
    const place = `subsets[${index}]`;
    for (const list of ['addresses', 'notReadyAddresses']) {
      objects(subset, list).forEach((address, position) => {
        const ip = text(address, 'ip');
        report.allInvalid(`${place}.${list}[${position}].ip`, ip, targetAddress(ip));
      });
    }
    if (objects(subset, 'addresses').length + objects(subset, 'notReadyAddresses').length === 0) {
      report.required(place, 'must specify `addresses` or `notReadyAddresses`');
    }
    const ports = objects(subset, 'ports');
    ports.forEach((port, position) => {
      const name = text(port, 'name');
      if (name === '' && ports.length > 1) report.required(`${place}.ports[${position}].name`);
      else if (name !== '') report.allInvalid(`${place}.ports[${position}].name`, name, dnsLabel(name));
      report.allInvalid(`${place}.ports[${position}].port`, port.port ?? 0, portNumber(port.port));
      report.oneOf(`${place}.ports[${position}].protocol`, port.protocol, protocols, 'required');
    });
  });
}

export function validateEndpointSlice(report: Report, slice: Fields): void {
  const type = text(slice, 'addressType');
  report.oneOf('addressType', type, ['FQDN', 'IPv4', 'IPv6'], 'required');
  const endpoints = objects(slice, 'endpoints');
  if (endpoints.length > limits.endpoints) report.tooMany('endpoints', endpoints.length, limits.endpoints);
  endpoints.forEach((endpoint, index) => {
    validateEndpoint(report, `endpoints[${index}]`, endpoint, type);
  });
  const ports = objects(slice, 'ports');
  if (ports.length > limits.ports) report.tooMany('ports', ports.length, limits.ports);
  const names = new Set<string>();
  ports.forEach((port, index) => {
    const name = text(port, 'name');
    if (name !== '') report.allInvalid(`ports[${index}].name`, name, dnsLabel(name));
    if (names.has(name)) report.duplicate(`ports[${index}].name`, name);
    names.add(name);
    report.oneOf(`ports[${index}].protocol`, port.protocol, protocols, 'required');
    const own = number(port, 'port');
    if (own !== undefined) report.allInvalid(`ports[${index}].port`, own, portNumber(own));
  });
}

function validateEndpoint(report: Report, path: string, endpoint: Fields, type: string): void {
  const addresses = texts(endpoint, 'addresses');
  if (addresses.length === 0) report.required(`${path}.addresses`, 'must contain at least 1 address');
  if (addresses.length > limits.addresses) report.tooMany(`${path}.addresses`, addresses.length, limits.addresses);
  addresses.forEach((address, index) => {
    const place = `${path}.addresses[${index}]`;
    if (type === 'FQDN') {
      report.allInvalid(place, address, dnsSubdomain(address));
      return;
    }
    report.allInvalid(place, address, targetAddress(address));
    const ip = parseIp(address);
    if (ip !== undefined && familyOf(ip) !== type) report.invalid(place, address, `must be a valid ${type} address`);
  });
  const node = text(endpoint, 'nodeName');
  if (node !== '') report.allInvalid(`${path}.nodeName`, node, dnsSubdomain(node));
  const hostname = text(endpoint, 'hostname');
  if (hostname !== '') report.allInvalid(`${path}.hostname`, hostname, dnsLabel(hostname));
  validateLabels(report, `${path}.deprecatedTopology`, endpoint.deprecatedTopology);
}

export function validateEndpointSliceUpdate(report: Report, slice: Fields, old: Fields): void {
  if (slice.addressType !== old.addressType) report.invalid('addressType', slice.addressType, immutable);
}
