/** Just enough protobuf to read the review requests of kubectl: length-delimited fields of known numbers. */
import { badRequest } from '../../api/status.ts';

/** "k8s" and NUL, in front of every Kubernetes protobuf body. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

function malformed(): Error {
  return badRequest('the request body is not a valid Kubernetes protobuf message');
}

/** A base-128 number at `offset` (protobuf encoding, "Base 128 Varints"). */
function varint(data: Buffer, offset: number): { value: number; next: number } {
  let value = 0;
  for (let at = 0; at < 10; at++) {
    const byte = data[offset + at];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return { value, next: offset + at + 1 };
  }
  throw malformed();
}

/** The last length-delimited field with this number; undefined when there is none. Throws a 400 Status. */
export function fieldBytes(data: Buffer, wanted: number): Buffer | undefined {
  let found: Buffer | undefined;
  let offset = 0;
  while (offset < data.length) {
    const { value: tag, next } = varint(data, offset);
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        offset = varint(data, next).next;
        break;
      case 1:
        offset = next + 8;
        break;
      case 2: {
        const { value: length, next: start } = varint(data, next);
        offset = start + length;
        if (offset > data.length) throw malformed();
        if (number === wanted) found = data.subarray(start, offset);
        break;
      }
      case 5:
        offset = next + 4;
        break;
      default:
        throw malformed(); // groups are not used
    }
  }
  return found;
}

/** A string field; empty when absent, as protobuf has it. */
export function fieldText(data: Buffer, wanted: number): string {
  return fieldBytes(data, wanted)?.toString() ?? '';
}

/** The kind and message of a Kubernetes protobuf body (runtime.Unknown). Throws a 400 Status. */
export function decodeEnvelope(body: Buffer): { kind: string; raw: Buffer } {
  if (!body.subarray(0, 4).equals(MAGIC)) throw malformed();
  const unknown = body.subarray(4);
  const type = fieldBytes(unknown, 1) ?? Buffer.alloc(0);
  return { kind: fieldText(type, 2), raw: fieldBytes(unknown, 2) ?? Buffer.alloc(0) };
}
