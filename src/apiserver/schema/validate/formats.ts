// Formats of strings in schemas (k8s.io/kube-openapi pkg/validation/strfmt); unknown ones restrict nothing.
import { parseCidr, parseIp } from '../../../net/address.ts';
import { canonicalBase64, canonicalTime } from '../scalars.ts';

const uuid = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const hostname = /^([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.?$/i;

const checks: Readonly<Record<string, (value: string) => boolean>> = {
  'date-time': (value) => canonicalTime(value, 0) !== undefined,
  datetime: (value) => canonicalTime(value, 0) !== undefined,
  date: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  duration: (value) => /^([+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)\s*)+$|^0$/.test(value),
  byte: (value) => 'text' in canonicalBase64(value),
  uuid: (value) => uuid.test(value),
  uuid3: (value) => uuid.test(value),
  uuid4: (value) => uuid.test(value),
  uuid5: (value) => uuid.test(value),
  ipv4: (value) => parseIp(value)?.includes('.') === true,
  ipv6: (value) => parseIp(value)?.includes(':') === true,
  ip: (value) => parseIp(value) !== undefined,
  cidr: (value) => parseCidr(value) !== undefined,
  mac: (value) => /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(value),
  hostname: (value) => value.length <= 255 && hostname.test(value),
  email: (value) => /^[^\s@<>]+@[^\s@<>]+$/.test(value),
  uri: (value) => URL.canParse(value) || value.startsWith('/'),
};

/** Whether the value is not of the format. */
export function formatFault(format: string, value: string): boolean {
  const check = checks[format];
  return check !== undefined && !check(value);
}
