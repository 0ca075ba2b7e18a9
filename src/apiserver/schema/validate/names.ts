// Names, labels, ports and addresses: whether they are well-formed, in upstream's words.
// Source: apimachinery pkg/util/validation/validation.go and pkg/api/validation.
import { parseCidr, parseIp } from '../../../net/address.ts';

/** What is wrong with a value, one message each; empty where it is well-formed. */
export type Check = (value: string) => readonly string[];

const tooLong = (limit: number): string => `must be no more than ${limit} bytes`;

function regexError(message: string, regex: string, ...examples: readonly string[]): string {
  if (examples.length === 0) return `${message} (regex used for validation is '${regex}')`;
  return `${message} (e.g. ${examples.map((example) => `'${example}', `).join(' or ')}regex used for validation is '${regex}')`;
}

/** A check by one regular expression (without anchors, as upstream prints it) and a length. */
function pattern(regex: string, limit: number, message: string, ...examples: readonly string[]): Check {
  const compiled = new RegExp(`^(?:${regex})$`);
  const error = regexError(message, regex, ...examples);
  return (value) => [
    ...(Buffer.byteLength(value) > limit ? [tooLong(limit)] : []),
    ...(compiled.test(value) ? [] : [error]),
  ];
}

export const dnsLabel = pattern(
  '[a-z0-9]([-a-z0-9]*[a-z0-9])?',
  63,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  'my-name',
  '123-abc',
);

export const dnsSubdomain = pattern(
  '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*',
  253,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  'example.com',
);

export const dns1035Label = pattern(
  '[a-z]([-a-z0-9]*[a-z0-9])?',
  63,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  'my-name',
  'abc-123',
);

export const wildcardSubdomain = pattern(
  '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*',
  253,
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
  '*.example.com',
);

export const labelValue = pattern(
  '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?',
  63,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  'MyValue',
  'my_value',
  '12345',
);

const configKeyPattern = pattern(
  '[-._a-zA-Z0-9]+',
  253,
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
  'key.name',
  'KEY_NAME',
  'key-name',
);

/** Keys of ConfigMaps and Secrets: they become file names. */
export const configKey: Check = (value) => {
  if (value === '.') return ["must not be '.'"];
  if (value === '..') return ["must not be '..'"];
  if (value.startsWith('..')) return ["must not start with '..'"];
  return configKeyPattern(value);
};

const nameRegex = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const namePart = new RegExp(`^${nameRegex}$`);
const nameMessage = regexError(
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  nameRegex,
  'MyName',
  'my.name',
  '123-abc',
);

/** `name` or `prefix/name`: keys of labels and annotations, resource names. */
export const qualifiedName: Check = (value) => {
  const parts = value.split('/');
  if (parts.length > 2) {
    return [
      `a qualified name ${nameMessage} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const errors: string[] = [];
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix === '') errors.push('prefix part must be non-empty');
  else if (prefix !== undefined) errors.push(...dnsSubdomain(prefix).map((message) => `prefix part ${message}`));
  if (name === '') errors.push('name part must be non-empty');
  else if (name.length > 63) errors.push(`name part ${tooLong(63)}`);
  if (!namePart.test(name)) errors.push(`name part ${nameMessage}`);
  return errors;
};

export const envName: Check = (value) =>
  /^[ -<>-~]+$/.test(value)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];

export const httpHeaderName = pattern(
  '[-A-Za-z0-9]+',
  253,
  "a valid HTTP header must consist of alphanumeric characters or '-'",
  'X-Header-Name',
);

/** A path that names RBAC objects: no slash, no percent, not `.` or `..`. */
export const pathSegment: Check = (value) => {
  if (value === '.' || value === '..') return [`may not be '${value}'`];
  return ['/', '%'].filter((mark) => value.includes(mark)).map((mark) => `may not contain '${mark}'`);
};

export const portNumber = (value: unknown): readonly string[] =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535
    ? []
    : ['must be between 1 and 65535, inclusive'];

/** Names of ports (RFC 6335 section 5.1). */
export const portName: Check = (value) => {
  const errors: string[] = [];
  if (value.length > 15) errors.push(tooLong(15));
  if (!/^[-a-z0-9]+$/.test(value))
    errors.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) errors.push('must contain at least one letter (a-z)');
  if (value.includes('--')) errors.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) errors.push('must not begin or end with a hyphen');
  return errors;
};

/** A port by number or by name. */
export function portReference(value: unknown): readonly string[] {
  return typeof value === 'string' ? portName(value) : portNumber(value);
}

export const ipAddress: Check = (value) =>
  parseIp(value) === undefined ? ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'] : [];

export const cidrText: Check = (value) =>
  parseCidr(value) === undefined ? ['must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'] : [];

/** Addresses that nobody sends traffic to from elsewhere (upstream's ValidateNonSpecialIP). */
const special: readonly [match: RegExp, message: (ip: string) => string][] = [
  [/^(0\.0\.0\.0|::)$/, (ip) => `may not be unspecified (${ip})`],
  [/^127\.|^::1$/, () => 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
  [/^169\.254\.|^fe[89ab]/i, () => 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'],
  [/^224\.0\.0\.|^ff02/i, () => 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)'],
];

/** An address that traffic may be sent to: no loopback, link-local or multicast. */
export const targetAddress: Check = (value) => {
  const errors = ipAddress(value);
  if (errors.length > 0) return errors;
  return special.filter(([match]) => match.test(value)).map(([, message]) => message(value));
};

/** The name of an IPAddress: the address as RFC 5952 writes it, so that no address has two names. */
export const canonicalAddress: Check = (value) => {
  const parsed = parseIp(value);
  if (parsed === undefined) return ipAddress(value);
  return parsed === value ? [] : [`must be in canonical form (${JSON.stringify(parsed)})`];
};

/** Names under which a kind's objects can be stored. */
const nameChecks: Readonly<Record<string, Check>> = {
  'v1/Namespace': dnsLabel,
  'v1/Service': dns1035Label,
  'networking.k8s.io/v1/IPAddress': canonicalAddress,
  'rbac.authorization.k8s.io/v1/Role': pathSegment,
  'rbac.authorization.k8s.io/v1/ClusterRole': pathSegment,
  'rbac.authorization.k8s.io/v1/RoleBinding': pathSegment,
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': pathSegment,
};

/** The check for metadata.name of a kind: a DNS subdomain but for a few. */
export function nameCheckOf(gvk: string): Check {
  return nameChecks[gvk] ?? dnsSubdomain;
}
