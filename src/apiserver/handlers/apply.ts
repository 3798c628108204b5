/** apply: server-side apply of an object or its status; creates what is not there. */
import { badRequest, conflict, notFound } from '../../api/status.ts';
import type { KubeObject } from '../../api/meta.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { decodeObject, decodePartial, prepareCreate, prepareUpdate } from '../registry/strategy.ts';
import type { Decoded, Subresource } from '../registry/strategy.ts';
import { applyConfiguration } from '../ssa/apply.ts';
import { repeatedItem } from '../ssa/repeated.ts';
import { ownersOf, withoutOwners, withOwners } from '../ssa/track.ts';
import { decodeJson, decodeYaml, readBody } from './body.ts';
import type { Body } from './body.ts';
import type { Call } from './context.ts';
import type { AnswerForm } from './negotiation.ts';
import { readWriteOptions } from './parameters.ts';
import type { WriteOptions } from './parameters.ts';
import { objectResponse } from './respond.ts';
import { checkUnchanged } from './unchanged.ts';
import { writeObject, writerOf } from './write.ts';

/** PATCH of an object or its status with `application/apply-patch+yaml`. */
export async function applyObject(
  call: Call,
  name: string,
  subresource: Subresource,
  form: AnswerForm,
): Promise<Response> {
  const { c, resource, deps } = call;
  const options = readWriteOptions(c, 'PatchOptions', true);
  c.env.facts.dryRun = options.dryRun;
  const config = configurationOf(call, name, decodeApplied(await readBody(c)), options, subresource);
  const now = deps.clock.wallNow();
  const writer = writerOf(call, options, 'Apply', subresource);
  const { source, isCreated } = await writeObject(call, name, options.dryRun, (current) => {
    if (current === undefined) checkCreatable(call, name, config, subresource);
    else checkUnchanged(call, current, withName(config, current));
    const applied = applyConfiguration({
      schema: resource.fieldSchema,
      live: current === undefined ? undefined : withoutOwners(current),
      config: { ...config },
      owners: ownersOf(current),
      writer,
      time: rfc3339(now),
      isForced: options.isForced,
    });
    const { object } = decodeObject(resource, applied.object, 'applied');
    const next =
      current === undefined
        ? prepareCreate(resource, object, now)
        : prepareUpdate(resource, current, object, subresource);
    return withOwners(current, next, applied.owners);
  });
  return objectResponse(call, form, isCreated ? 201 : 200, source);
}

/** JSON is YAML, and far quicker to read when it is recognised. */
function decodeApplied(bytes: Buffer): Body {
  const isJson = bytes.subarray(0, 64).toString().trimStart().startsWith('{');
  if (!isJson) return decodeYaml(bytes);
  try {
    return decodeJson(bytes);
  } catch {
    return decodeYaml(bytes); // flow style YAML begins the same way
  }
}

/** Reads the configuration, without what this endpoint does not write. Throws a 400 Status. */
function configurationOf(
  call: Call,
  name: string,
  body: Body,
  options: WriteOptions,
  subresource: Subresource,
): KubeObject {
  const { resource } = call;
  const decoded: Decoded = decodePartial(resource, body.value, 'applied');
  const { apiVersion, kind, metadata, status, ...rest } = decoded.object;
  const untyped = (why: string): Error =>
    badRequest(
      `failed to create typed patch object (/${name}; ${resource.apiVersion}, Kind=${resource.kind}): ${why}`,
    );
  if (body.repeated.length > 0 && options.fieldValidation === 'Strict')
    throw badRequest(`error strict decoding patch: ${body.repeated.join(', ')}`);
  if (options.fieldValidation === 'Warn') call.warnings.push(...body.repeated);
  if (decoded.unknownFields.length > 0) {
    const errors = decoded.unknownFields.map((path) => `.${path}: field not declared in schema`);
    throw untyped(errors.length === 1 ? (errors[0] ?? '') : `errors:\n  ${errors.join('\n  ')}`);
  }
  const { managedFields, ...given } = metadata;
  if (managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  const repeated = repeatedItem(resource.fieldSchema, decoded.object);
  if (repeated !== undefined) throw untyped(repeated);
  if (given.name !== undefined && given.name !== '' && given.name !== name) {
    throw badRequest(`the name of the object (${given.name}) does not match the name on the URL (${name})`);
  }
  if (subresource === 'status') {
    const { uid, resourceVersion } = given;
    const identity = {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    return { apiVersion, kind, metadata: identity, ...(status === undefined ? {} : { status }) };
  }
  return { apiVersion, kind, metadata: { ...given, name }, ...rest };
}

function checkCreatable(call: Call, name: string, config: KubeObject, subresource: Subresource): void {
  const { uid } = config.metadata;
  if (subresource !== undefined) throw notFound(call.resource, name);
  if ((uid ?? '') !== '') {
    throw conflict(
      call.resource,
      name,
      `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
    );
  }
}

/** What an apply says about identity, for the checks that all patches share. */
function withName(config: KubeObject, current: KubeObject): KubeObject {
  return { ...config, metadata: { ...config.metadata, name: current.metadata.name ?? '' } };
}
