/** Status, the one shape of every API failure, as an error that carries its HTTP code (meta/v1 Status). */
import { EdgeError } from '../lib/errors.ts';

/** Machine-readable reasons (meta/v1 StatusReason). */
export type StatusReason =
  | 'BadRequest'
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Expired'
  | 'RequestEntityTooLarge'
  | 'UnsupportedMediaType'
  | 'Invalid'
  | 'TooManyRequests'
  | 'InternalError'
  | 'ServiceUnavailable'
  | 'Timeout';

/** One cause of a failure, with the path of the field it is about. */
export interface StatusCause {
  reason: string;
  message: string;
  field?: string;
}

/** What a failure is about. */
export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** The body of every failed request, and of a finished delete. */
export interface Status {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Record<string, unknown>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: StatusReason;
  details?: StatusDetails;
  code?: number;
}

/** A resource as messages name it. */
export interface ResourceName {
  group: string;
  plural: string;
  kind: string;
}

const CODES: Readonly<Record<StatusReason, number>> = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Expired: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  TooManyRequests: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
  Timeout: 504,
};

/** A failure with its Status; the code is `EDGE_ERR_API_<REASON>`. */
export class StatusError extends EdgeError {
  override readonly name = 'StatusError';
  readonly status: Status;

  constructor(status: Status, cause?: unknown) {
    const reason = status.reason ?? 'InternalError';
    super(
      `EDGE_ERR_API_${reason.replaceAll(/(?<=[a-z])[A-Z]/gu, (letter) => `_${letter}`).toUpperCase()}`,
      status.message ?? reason,
      { cause, retryable: status.details?.retryAfterSeconds !== undefined },
    );
    this.status = status;
  }

  /** The HTTP status code. */
  get httpCode(): number {
    return this.status.code ?? 500;
  }

  /** The machine-readable reason; undefined where a server sent none. */
  get reason(): StatusReason | undefined {
    return this.status.reason;
  }
}

/** Creates an error of any reason. */
export function statusError(
  reason: StatusReason,
  message: string,
  details?: StatusDetails,
  cause?: unknown,
): StatusError {
  const status: Status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
  };
  if (details !== undefined) status.details = details;
  status.code = CODES[reason];
  return new StatusError(status, cause);
}

/** `routers.edge.example.com`. */
function qualified(resource: ResourceName): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

function about(resource: ResourceName, name: string): StatusDetails {
  return { name, group: resource.group, kind: resource.plural };
}

/** 400: the request cannot be understood. */
export function badRequest(message: string): StatusError {
  return statusError('BadRequest', message);
}

/** 401: no credentials, or wrong ones. */
export function unauthorized(): StatusError {
  return statusError('Unauthorized', 'Unauthorized');
}

/** 404: no such object. */
export function notFound(resource: ResourceName, name: string): StatusError {
  return statusError('NotFound', `${qualified(resource)} "${name}" not found`, about(resource, name));
}

/** 404: no such path or resource. */
export function unknownResource(): StatusError {
  return statusError('NotFound', 'the server could not find the requested resource', {});
}

/** 405: the verb does not exist on the resource. */
export function methodNotAllowed(resource: ResourceName, verb: string): StatusError {
  return statusError(
    'MethodNotAllowed',
    `${verb} is not supported on resources of kind "${qualified(resource)}"`,
    {
      group: resource.group,
      kind: resource.plural,
    },
  );
}

/** 409: the name is taken. */
export function alreadyExists(resource: ResourceName, name: string, isBeingDeleted = false): StatusError {
  return statusError(
    'AlreadyExists',
    `${isBeingDeleted ? 'object is being deleted: ' : ''}${qualified(resource)} "${name}" already exists`,
    about(resource, name),
  );
}

/** 409: the write is based on another version than the stored one. */
export function conflict(resource: ResourceName, name: string, why: string): StatusError {
  return statusError(
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    about(resource, name),
  );
}

/** The reason that clients know from a stale resourceVersion. */
export const STALE =
  'the object has been modified; please apply your changes to the latest version and try again';

/** 410: the wanted version is no longer kept. */
export function expired(message: string): StatusError {
  return statusError('Expired', message);
}

/** 422: fields are wrong; every one of them is named. */
export function invalid(
  kind: { group: string; kind: string },
  name: string,
  causes: StatusCause[],
): StatusError {
  const texts = causes.map((cause) =>
    cause.field === undefined ? cause.message : `${cause.field}: ${cause.message}`,
  );
  const joined = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return statusError('Invalid', `${kind.kind}.${kind.group} "${name}" is invalid: ${joined}`, {
    ...(name === '' ? {} : { name }),
    group: kind.group,
    kind: kind.kind,
    causes,
  });
}

/** 403: the user may not do this. `resource` may carry a subresource: `routers/status`. */
export function forbidden(options: {
  user: string;
  verb: string;
  group: string;
  resource: string;
  name?: string | undefined;
  why?: string;
}): StatusError {
  const plural = options.resource.split('/', 1)[0] ?? options.resource;
  const full = options.group === '' ? plural : `${plural}.${options.group}`;
  const named = options.name === undefined ? '' : ` "${options.name}"`;
  const why = options.why === undefined ? '' : `: ${options.why}`;
  return statusError(
    'Forbidden',
    `${full}${named} is forbidden: User "${options.user}" cannot ${options.verb} resource "${options.resource}" in API group "${options.group}" at the cluster scope${why}`,
    { ...(options.name === undefined ? {} : { name: options.name }), group: options.group, kind: plural },
  );
}

/** Whether an error is a Status with this reason. */
export function isStatus(err: unknown, reason: StatusReason): err is StatusError {
  return err instanceof StatusError && err.reason === reason;
}
