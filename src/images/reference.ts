// Names of images, in the form that containerd keeps them: host/path:tag or host/path@digest.

/** A name taken apart. Either a tag or a digest says which image of the repository. */
export interface ImageReference {
  readonly host: string;
  /** The path within the registry, such as `library/nginx`. */
  readonly repository: string;
  readonly version: { readonly tag: string } | { readonly digest: string };
}

const path = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagForm = /^\w[\w.-]{0,127}$/;
const digestForm = /^sha256:[0-9a-f]{64}$/;

/**
 * Reads a name as Docker and containerd do: no host means docker.io, a single word there is in `library/`, no tag means
 * `latest`. Throws a RangeError that names the text (distribution specification, "Pulling manifests").
 */
export function parseReference(text: string): ImageReference {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const tag = colon > named.lastIndexOf('/') ? named.slice(colon + 1) : undefined;
  const full = tag === undefined ? named : named.slice(0, colon);
  const slash = full.indexOf('/');
  const first = slash < 0 ? '' : full.slice(0, slash);
  const hasHost = first.includes('.') || first.includes(':') || first === 'localhost';
  const host = hasHost ? first : 'docker.io';
  const rest = hasHost ? full.slice(slash + 1) : full;
  const repository = host === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest;
  const good =
    path.test(repository) &&
    (tag === undefined || tagForm.test(tag)) &&
    (digest === undefined || digestForm.test(digest));
  if (!good) throw new RangeError(`'${text}' is not the name of an image`);
  return { host, repository, version: digest === undefined ? { tag: tag ?? 'latest' } : { digest } };
}

/** The full name, as it is kept and shown. */
export function formatReference({ host, repository, version }: ImageReference): string {
  return 'tag' in version ? `${host}/${repository}:${version.tag}` : `${host}/${repository}@${version.digest}`;
}
