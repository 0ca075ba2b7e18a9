// The result of the plugins that came before in a chain: `prevResult` of the configuration, validated. Pure.
import { isRecord } from '../k8s/json.ts';
import { CniError, errorCode, type Result } from './protocol.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * The result of the plugins before, as the configuration carries it; undefined where there is none. Throws CniError
 * where it has not the form of a result.
 */
export function previousResult(config: Json): Result | undefined {
  const value = config.prevResult;
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) throw new CniError(errorCode.decodingFailure, 'prevResult is not a JSON object');
  return {
    interfaces: objects(value, 'interfaces').map((entry) => ({
      name: text(entry, 'name') ?? '',
      ...optional('mac', text(entry, 'mac')),
      ...optional('sandbox', text(entry, 'sandbox')),
      ...optional('mtu', number(entry, 'mtu')),
    })),
    ips: objects(value, 'ips').map((entry) => ({
      address: text(entry, 'address') ?? '',
      ...optional('gateway', text(entry, 'gateway')),
      ...optional('interface', number(entry, 'interface')),
    })),
    routes: objects(value, 'routes').map((entry) => ({
      dst: text(entry, 'dst') ?? '',
      ...optional('gw', text(entry, 'gw')),
    })),
    ...(isRecord(value.dns) ? { dns: value.dns } : {}),
  };
}

function objects(value: Json, field: string): Json[] {
  const list = value[field] ?? [];
  if (!Array.isArray(list) || !list.every(isRecord))
    throw new CniError(errorCode.decodingFailure, `prevResult.${field} is not a list of objects`);
  return list;
}

function text(value: Json, field: string): string | undefined {
  const found = value[field];
  return typeof found === 'string' ? found : undefined;
}

function number(value: Json, field: string): number | undefined {
  const found = value[field];
  return typeof found === 'number' ? found : undefined;
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  const result: { [P in K]?: V } = {};
  if (value !== undefined) result[key] = value;
  return result;
}
