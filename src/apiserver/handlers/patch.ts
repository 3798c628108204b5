/** patch: JSON patch and merge patch against the newest state; other kinds of patch are refused as the reference does. */
import type { KubeObject } from '../../api/meta.ts';
import { badRequest, conflict, notFound, STALE } from '../../api/status.ts';
import { applyJsonPatch, decodeJsonPatch } from '../registry/json-patch.ts';
import { mergePatch } from '../registry/merge-patch.ts';
import { decodeObject, prepareUpdate } from '../registry/strategy.ts';
import type { Subresource } from '../registry/strategy.ts';
import { contentType, decodeJson, readBody, unsupportedMediaType } from './body.ts';
import type { Call } from './context.ts';
import { negotiate } from './negotiation.ts';
import { invalidOptions, readWriteOptions } from './parameters.ts';
import { objectResponse } from './respond.ts';
import { fieldProblems, immutable, strictPatchError, WRITE_FORMS, writeObject } from './write.ts';

const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';

/** PATCH of an object or its status. */
export async function patchObject(call: Call, name: string, subresource: Subresource): Promise<Response> {
  const { c, resource } = call;
  const form = negotiate(c.req.header('accept'), WRITE_FORMS);
  const type = contentType(c);
  if (type !== JSON_PATCH && type !== MERGE_PATCH) throw unsupportedMediaType([JSON_PATCH, MERGE_PATCH]);
  const options = readWriteOptions(c, 'PatchOptions');
  c.set('dryRun', options.dryRun);
  if (c.req.query('force') !== undefined) {
    throw invalidOptions('PatchOptions', [
      {
        reason: 'FieldValueForbidden',
        message: 'Forbidden: may not be specified for non-apply patch',
        field: 'force',
      },
    ]);
  }
  const body = decodeJson(await readBody(c));
  const apply = type === JSON_PATCH ? jsonPatcher(body.value) : mergePatcher(body.value);
  const { source } = await writeObject(call, name, options.dryRun, (current) => {
    if (current === undefined) throw notFound(resource, name);
    const decoded = decodeObject(resource, apply(current));
    const problems = fieldProblems(decoded, body.duplicateFields);
    if (problems.length > 0 && options.fieldValidation === 'Strict') {
      throw strictPatchError(call, name, body.value, problems);
    }
    if (options.fieldValidation === 'Warn') call.warnings.push(...problems);
    checkUnchanged(call, current, decoded.object);
    return prepareUpdate(resource, current, decoded.object, subresource);
  });
  return objectResponse(call, form, 200, source);
}

function jsonPatcher(body: unknown): (current: KubeObject) => unknown {
  const operations = decodeJsonPatch(body);
  return (current) => applyJsonPatch(current, operations);
}

function mergePatcher(body: unknown): (current: KubeObject) => unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest('error decoding patch: a merge patch is an object');
  }
  return (current) => mergePatch(current, body);
}

/** A patch may carry the identity of what it patches, but not another one. */
function checkUnchanged(call: Call, current: KubeObject, next: KubeObject): void {
  const { resource } = call;
  const name = current.metadata.name ?? '';
  if (next.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${next.metadata.name ?? ''}) does not match the name on the URL (${name})`,
    );
  }
  if ((next.metadata.uid ?? '') !== '' && next.metadata.uid !== current.metadata.uid) {
    throw immutable(call, name, 'metadata.uid', next.metadata.uid);
  }
  // a patch that carries a version is meant for that version only
  const wanted = next.metadata.resourceVersion ?? '';
  if (wanted !== '' && wanted !== current.metadata.resourceVersion) throw conflict(resource, name, STALE);
}
