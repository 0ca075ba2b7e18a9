// The errors that the API answers with: Kubernetes' Status objects, worded as upstream words them.
import type { Status, StatusCause } from '../../k8s/types.generated.ts';

/** An error that is answered to the client as it is. */
export class StatusError extends Error {
  readonly status: Status;

  constructor(status: Status) {
    super(status.message ?? status.reason ?? 'error');
    this.name = 'StatusError';
    this.status = status;
  }
}

/** The kinds of complaints about one field (apimachinery `field.ErrorType`). */
export type FieldErrorType =
  | 'Required'
  | 'Invalid'
  | 'NotSupported'
  | 'Duplicate'
  | 'Forbidden'
  | 'TooLong'
  | 'TooMany'
  | 'NotFound'
  | 'TypeInvalid';

/** What is wrong with one field of an object. */
export interface FieldError {
  /** As in `spec.containers[0].name`. */
  readonly path: string;
  readonly type: FieldErrorType;
  /** The value that is there; printed where the type has a value to print. */
  readonly value?: unknown;
  readonly detail?: string;
  /** The values that would do; for NotSupported. */
  readonly supported?: readonly string[];
}

export interface GroupResource {
  readonly group: string;
  readonly resource: string;
}

export interface GroupKind {
  readonly group: string;
  readonly kind: string;
}

const wording: Record<FieldErrorType, string> = {
  Required: 'Required value',
  Invalid: 'Invalid value',
  NotSupported: 'Unsupported value',
  Duplicate: 'Duplicate value',
  Forbidden: 'Forbidden',
  TooLong: 'Too long',
  TooMany: 'Too many',
  NotFound: 'Not found',
  TypeInvalid: 'Invalid value',
};

const withoutValue: ReadonlySet<FieldErrorType> = new Set(['Required', 'Forbidden', 'TooLong']);

/** The complaint without the field's name, as in `Invalid value: "x": must be …` (apimachinery `Error.ErrorBody`). */
function fieldErrorBody(error: FieldError): string {
  let text = wording[error.type];
  if (!withoutValue.has(error.type)) text += `: ${JSON.stringify(error.value ?? null)}`;
  const detail =
    error.detail ??
    (error.supported && error.supported.length > 0
      ? `supported values: ${error.supported.map((value) => JSON.stringify(value)).join(', ')}`
      : undefined);
  return detail === undefined || detail === '' ? text : `${text}: ${detail}`;
}

/** The whole complaint: the field's name, then what is wrong with it. */
export function fieldErrorText(error: FieldError): string {
  return `${error.path}: ${fieldErrorBody(error)}`;
}

/** Several messages as upstream joins them: one alone, more as `[a, b]`, each once. */
function joinMessages(messages: readonly string[]): string {
  const unique = [...new Set(messages)];
  return unique.length === 1 ? (unique[0] ?? '') : `[${unique.join(', ')}]`;
}

const qualified = (group: string, name: string): string => (group === '' ? name : `${name}.${group}`);
const resourceText = ({ group, resource }: GroupResource): string => qualified(group, resource);

/** `group` is left out for core, as upstream leaves out what is empty. */
const resourceDetails = ({ group, resource }: GroupResource, name: string): NonNullable<Status['details']> => ({
  ...(name === '' ? {} : { name }),
  ...(group === '' ? {} : { group }),
  kind: resource,
});

function failure(code: number, reason: string, message: string, details?: Status['details']): StatusError {
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  });
}

/** 400: the request cannot be understood. */
export function badRequest(message: string): StatusError {
  return failure(400, 'BadRequest', message);
}

/** 401: no valid certificate or token. */
export function unauthorized(message = 'Unauthorized'): StatusError {
  return failure(401, 'Unauthorized', message);
}

/** 403. `why` is what stands after `is forbidden:`; causes name fields or conditions such as NamespaceTerminating. */
export function forbidden(
  resource: GroupResource,
  name: string,
  why: string,
  causes: readonly StatusCause[] = [],
): StatusError {
  const subject =
    resource.resource === '' ? 'forbidden' : `${resourceText(resource)}${name === '' ? '' : ` "${name}"`}`;
  const message = resource.resource === '' ? `forbidden: ${why}` : `${subject} is forbidden: ${why}`;
  return failure(403, 'Forbidden', message, {
    ...resourceDetails(resource, name),
    ...(causes.length === 0 ? {} : { causes: [...causes] }),
  });
}

/** 404: no such object. */
export function notFound(resource: GroupResource, name: string): StatusError {
  return failure(404, 'NotFound', `${resourceText(resource)} "${name}" not found`, resourceDetails(resource, name));
}

/** 404: nothing is served under this path. */
export function pathNotFound(): StatusError {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

/** 405: the resource is there but not this verb. */
export function methodNotAllowed(resource: GroupResource, verb: string): StatusError {
  const message = `${verb} is not supported on resources of kind "${resourceText(resource)}"`;
  return failure(405, 'MethodNotAllowed', message, resourceDetails(resource, ''));
}

/** 406: none of the media types that the client accepts can be produced. */
export function notAcceptable(supported: readonly string[]): StatusError {
  return failure(406, 'NotAcceptable', `only the following media types are accepted: ${supported.join(', ')}`);
}

/** 409: an object of this name is there already. */
export function alreadyExists(resource: GroupResource, name: string): StatusError {
  return failure(
    409,
    'AlreadyExists',
    `${resourceText(resource)} "${name}" already exists`,
    resourceDetails(resource, name),
  );
}

/** 409: the object changed meanwhile, or a precondition does not hold (`message` says which). */
export function conflict(
  resource: GroupResource,
  name: string,
  message = 'the object has been modified; please apply your changes to the latest version and try again',
): StatusError {
  return failure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${resourceText(resource)} "${name}": ${message}`,
    resourceDetails(resource, name),
  );
}

/** 409 of server-side apply: other managers own fields that the request would change. */
export function applyConflict(message: string, causes: readonly StatusCause[]): StatusError {
  return failure(409, 'Conflict', message, { causes: [...causes] });
}

/** 410: the resourceVersion or the continue token is too old. */
export function gone(message: string): StatusError {
  return failure(410, 'Expired', message);
}

/** 415: the body is in a form that cannot be read here. */
export function unsupportedMediaType(message: string): StatusError {
  return failure(415, 'UnsupportedMediaType', message);
}

/** 422: the object is well-formed and says what must not be said. */
export function invalid(kind: GroupKind, name: string, errors: readonly FieldError[]): StatusError {
  const message = `${qualified(kind.group, kind.kind)} "${name}" is invalid: ${joinMessages(errors.map(fieldErrorText))}`;
  return failure(422, 'Invalid', message, {
    ...(name === '' ? {} : { name }),
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: errors.map((error) => ({
      reason: `FieldValue${error.type}`,
      message: fieldErrorBody(error),
      field: error.path,
    })),
  });
}

/** 422 for what is no field's fault: the patch cannot be applied to the object as it is. */
export function unprocessable(message: string): StatusError {
  return failure(422, 'Invalid', message, {});
}

/** 500: a fault of the server. */
export function internal(message: string): StatusError {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/** 503: not now. */
export function serviceUnavailable(message: string): StatusError {
  return failure(503, 'ServiceUnavailable', message);
}

/** 504: it took too long; `causes` such as ResourceVersionTooLarge. */
export function timeout(message: string, retryAfterSeconds: number, causes: readonly StatusCause[] = []): StatusError {
  return failure(504, 'Timeout', `Timeout: ${message}`, {
    retryAfterSeconds,
    ...(causes.length === 0 ? {} : { causes: [...causes] }),
  });
}
