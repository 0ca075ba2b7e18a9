// Probes and lifecycle hooks of containers.
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { httpHeaderName, portNumber, portReference } from './names.ts';
import { number, objects, type Report, text, texts } from './report.ts';

const probeHandlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'];
const hookHandlers = ['exec', 'httpGet', 'tcpSocket', 'sleep'];

/** `once`: liveness and startup probes, for which one success is success. */
export function validateProbe(report: Report, path: string, probe: Fields, once: boolean): void {
  validateKinds(report, path, probe, probeHandlers);
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ]) {
    report.notNegative(`${path}.${field}`, probe[field]);
  }
  const threshold = number(probe, 'successThreshold');
  if (once && threshold !== undefined && threshold !== 1)
    report.invalid(`${path}.successThreshold`, threshold, 'must be 1');
  const grace = number(probe, 'terminationGracePeriodSeconds');
  if (grace !== undefined && !once)
    report.invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must not be set for readinessProbes');
  else if (grace !== undefined && grace <= 0)
    report.invalid(`${path}.terminationGracePeriodSeconds`, grace, 'must be greater than 0');
}

export function validateHandler(report: Report, path: string, handler: Fields): void {
  validateKinds(report, path, handler, hookHandlers);
}

function validateKinds(report: Report, path: string, handler: Fields, kinds: readonly string[]): void {
  const given = kinds.filter((kind) => isFields(handler[kind]));
  if (given.length === 0) report.required(path, 'must specify a handler type');
  given.slice(1).forEach((kind) => {
    report.forbidden(`${path}.${kind}`, 'may not specify more than 1 handler type');
  });
  const [kind] = given;
  const value = kind === undefined ? undefined : handler[kind];
  if (isFields(value)) validateKind(report, `${path}.${kind}`, kind ?? '', value);
}

function validateKind(report: Report, path: string, kind: string, value: Fields): void {
  switch (kind) {
    case 'exec':
      if (texts(value, 'command').length === 0) report.required(`${path}.command`);
      break;
    case 'httpGet':
      if (text(value, 'path') === '') report.required(`${path}.path`);
      report.allInvalid(`${path}.port`, value.port ?? 0, portReference(value.port));
      report.oneOf(`${path}.scheme`, value.scheme, ['HTTP', 'HTTPS']);
      objects(value, 'httpHeaders').forEach((header, index) => {
        const name = text(header, 'name');
        report.allInvalid(`${path}.httpHeaders[${index}].name`, name, httpHeaderName(name));
      });
      break;
    case 'tcpSocket':
      report.allInvalid(`${path}.port`, value.port ?? 0, portReference(value.port));
      break;
    case 'grpc':
      report.allInvalid(`${path}.port`, value.port ?? 0, portNumber(value.port));
      break;
    case 'sleep':
      report.notNegative(`${path}.seconds`, value.seconds);
      break;
  }
}
