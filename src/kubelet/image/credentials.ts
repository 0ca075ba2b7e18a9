// Credentials for registries from image pull secrets. Pure. Rules: kubernetes pkg/credentialprovider.
import type { Secret } from '../../k8s/types.generated.ts';
import type { Request } from '../cri/protocol.ts';

/** The registry of an image's name: `docker.io` where it names none. */
export function registryOf(image: string): string {
  const [first = ''] = image.split('/');
  const named = image.includes('/') && (first.includes('.') || first.includes(':') || first === 'localhost');
  return named ? first : 'docker.io';
}

/** The credentials for the image's registry in the secrets, in their order; what cannot be read is passed over. */
export function credentialsFor(image: string, secrets: readonly Secret[]): Request<'AuthConfig'>[] {
  return secrets.flatMap((secret) => {
    const modern = secret.data?.['.dockerconfigjson'];
    const legacy = secret.data?.['.dockercfg'];
    const auths =
      modern !== undefined
        ? recordOf(recordOf(parse(modern))?.auths)
        : legacy !== undefined
          ? recordOf(parse(legacy))
          : undefined;
    return Object.entries(auths ?? {})
      .filter(([server]) => matches(server, image))
      .map(([server, entry]) => authOf(server, recordOf(entry) ?? {}));
  });
}

function matches(server: string, image: string): boolean {
  const registry = registryOf(image);
  const [host = '', ...path] = server
    .replace(/^https?:\/\//, '')
    .replace(/\/(v1|v2)?\/?$/, '')
    .split('/');
  const aliases: Readonly<Record<string, string>> = {
    'index.docker.io': 'docker.io',
    'registry-1.docker.io': 'docker.io',
  };
  if ((aliases[host] ?? host) !== registry) return false;
  return path.length === 0 || image.startsWith(`${host}/${path.join('/')}`);
}

function authOf(server: string, entry: Readonly<Record<string, unknown>>): Request<'AuthConfig'> {
  const text = (key: string): string => (typeof entry[key] === 'string' ? entry[key] : '');
  const [user = '', ...rest] = Buffer.from(text('auth'), 'base64').toString('utf8').split(':');
  return {
    username: text('username') || user,
    password: text('password') || rest.join(':'),
    serverAddress: server,
    identityToken: text('identitytoken'),
    registryToken: text('registrytoken'),
  };
}

function parse(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
  } catch {
    return undefined;
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? { ...value } : undefined;
}
