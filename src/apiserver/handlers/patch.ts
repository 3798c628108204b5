/** patch: JSON patch and merge patch against the newest state, or an apply; other kinds are refused as the reference does. */
import type { KubeObject } from '../../api/meta.ts';
import { badRequest, isStatus, notFound } from '../../api/status.ts';
import { applyJsonPatch, decodeJsonPatch } from '../registry/json-patch.ts';
import { mergePatch } from '../registry/merge-patch.ts';
import { unpatchable } from '../registry/object-type.ts';
import type { Resource } from '../registry/resources.ts';
import { decodePatched, prepareUpdate } from '../registry/strategy.ts';
import type { Decoded, Subresource } from '../registry/strategy.ts';
import { applyObject } from './apply.ts';
import { contentType, decodeJson, readBody, unsupportedMediaType } from './body.ts';
import type { Call } from './context.ts';
import { negotiate } from './negotiation.ts';
import { readWriteOptions } from './parameters.ts';
import { objectResponse } from './respond.ts';
import { checkUnchanged } from './unchanged.ts';
import { checkVersion, fieldProblems, tracker, WRITE_FORMS, writeObject } from './write.ts';

const JSON_PATCH = 'application/json-patch+json';
const MERGE_PATCH = 'application/merge-patch+json';
const APPLY_PATCH = 'application/apply-patch+yaml';

/** PATCH of an object or its status. */
export async function patchObject(call: Call, name: string, subresource: Subresource): Promise<Response> {
  const { c, resource } = call;
  const form = negotiate(c.req.header('accept'), WRITE_FORMS);
  const type = contentType(c);
  if (type === APPLY_PATCH) return applyObject(call, name, subresource, form);
  if (type !== JSON_PATCH && type !== MERGE_PATCH)
    throw unsupportedMediaType([JSON_PATCH, MERGE_PATCH, APPLY_PATCH]);
  const options = readWriteOptions(c, 'PatchOptions');
  c.env.facts.dryRun = options.dryRun;
  const body = decodeJson(await readBody(c));
  const apply = type === JSON_PATCH ? jsonPatcher(body.value) : mergePatcher(body.value);
  const track = tracker(call, options, subresource);
  const { source } = await writeObject(call, name, options.dryRun, (current) => {
    if (current === undefined) throw notFound(resource, name);
    const decoded = decode(resource, apply.to(current), current);
    const problems = [...fieldProblems(decoded, body.repeated), ...apply.problems];
    if (problems.length > 0 && options.fieldValidation === 'Strict')
      throw unpatchable(body.value, `strict decoding error: ${problems.join(', ')}`);
    if (options.fieldValidation === 'Warn') call.warnings.push(...problems);
    checkUnchanged(call, current, decoded.object);
    if ((decoded.object.metadata.resourceVersion ?? '') === '') checkVersion(call, current);
    const { managedFields } = decoded.object.metadata;
    const isGiven = managedFields !== current.metadata.managedFields;
    return track(
      current,
      prepareUpdate(resource, current, decoded.object, subresource),
      isGiven ? managedFields : undefined,
    );
  });
  return objectResponse(call, form, 200, source);
}

/** A patch that was read. */
interface Patch {
  to(current: KubeObject): unknown;
  /** What it has that no patch has. */
  problems: readonly string[];
}

function jsonPatcher(body: unknown): Patch {
  const { operations, unknownFields } = decodeJsonPatch(body);
  return {
    to: (current) => applyJsonPatch(current, operations),
    problems: unknownFields.map((path) => `json patch unknown field ${JSON.stringify(path)}`),
  };
}

function mergePatcher(body: unknown): Patch {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest('error decoding patch: a merge patch is an object');
  }
  return { to: (current) => mergePatch(current, body), problems: [] };
}

/** What a patch leads to, as an object; a field of a wrong type is the patch's fault (422), not the request's. */
function decode(resource: Resource, patched: unknown, current: KubeObject): Decoded {
  try {
    return decodePatched(resource, patched, current);
  } catch (err) {
    if (isStatus(err, 'BadRequest')) throw unpatchable(patched, err.message);
    throw err;
  }
}
