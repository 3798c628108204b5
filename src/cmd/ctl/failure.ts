/** Failures as kubectl prints them: scripts look for these lines. */
import { API_ERROR } from '../../apiclient/errors.ts';
import type { ApiError } from '../../apiclient/errors.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { EdgeError } from '../../lib/errors.ts';

/** The lines for stderr, without a final line feed. `context` says what was done, as in `error when creating "f.yaml"`. */
export function failureText(err: unknown, context?: string): string {
  // by code: a verb that is a bundle of its own has its own copies of the classes
  if (errorCode(err) !== API_ERROR) {
    const text = (err as Partial<EdgeError> | undefined)?.hint;
    const hint = typeof text === 'string' ? `\nhint: ${text}` : '';
    return `error: ${context === undefined ? '' : `${context}: `}${errorMessage(err)}${hint}`;
  }
  const { reason, message, status, hint } = err as ApiError;
  const causes = status.details?.causes ?? [];
  if (reason === 'Unauthorized')
    return `error: You must be logged in to the server (${message})\nhint: ${hint ?? ''}`;
  if (reason === 'Invalid' && causes.length > 0 && status.details?.kind !== undefined) {
    return invalidText(status.details.kind, status.details.name ?? '', causes);
  }
  if (causes.some((cause) => cause.reason === 'FieldManagerConflict'))
    return `error: ${message}\n${CONFLICT_HELP}`;
  return serverText(err as ApiError, context === undefined ? '' : `${context}: `);
}

/**
 * The lines for stderr when some of many objects failed. One failure looks as it always does; of several, and of one
 * with several reasons (an AggregateError), each is a line, without the prefix where the server did not say it: as
 * kubectl has it.
 */
export function failureLines(failures: readonly unknown[]): string[] {
  const [only] = failures;
  if (failures.length === 1) {
    const reasons = reasonsOf(only);
    return reasons.length > 1 ? reasons : [failureText(reasons.length === 1 ? new Error(reasons[0]) : only)];
  }
  return failures.map((err) => {
    if (errorCode(err) === API_ERROR) return serverText(err as ApiError);
    const reasons = reasonsOf(err);
    if (reasons.length === 0) return errorMessage(err);
    return reasons.length === 1 ? (reasons[0] ?? '') : `[${reasons.join(', ')}]`;
  });
}

function reasonsOf(err: unknown): string[] {
  return err instanceof AggregateError ? err.errors.map(errorMessage) : [];
}

function serverText({ reason, message }: ApiError, where = ''): string {
  return `Error from server${reason === '' ? '' : ` (${reason})`}: ${where}${message}`;
}

function invalidText(
  kind: string,
  name: string,
  causes: readonly { field?: string; message?: string }[],
): string {
  const lines = [
    ...new Set(
      causes.map(({ field = '', message = '' }) => (field === '' ? message : `${field}: ${message}`)),
    ),
  ];
  const text = lines.length === 1 ? (lines[0] ?? '') : `\n* ${lines.join('\n* ')}`;
  return `The ${kind} "${name}" is invalid: ${text}`;
}

const CONFLICT_HELP = `Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the \`--force-conflicts\` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts`;
