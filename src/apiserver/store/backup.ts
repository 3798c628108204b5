/**
 * Backups: one line of JSON that says what follows, then the SQLite file itself (`tail -n +2 FILE > state.db`).
 * Nothing of a backup is used before all of it was checked.
 */
import { imageDigest } from './checkpoint.ts';
import { badBackup } from './errors.ts';
import { imageProblems } from './image-check.ts';
import { SqliteImage } from './sqlite.ts';
import type { ObjectRow } from './sqlite.ts';
import type { Snapshot } from './state.ts';

const FORMAT = 'edge-backup/v1';
/** The first line is about 250 bytes; a file without a line end must not be searched to its end. */
const MAX_HEADER_BYTES = 4096;

/** What a backup says about itself. */
export interface BackupHeader {
  format: typeof FORMAT;
  /** The node it was taken from. */
  node: string;
  /** RFC 3339. */
  time: string;
  revision: number;
  objects: number;
  /** Length and SHA-256 (hex) of the SQLite file. */
  bytes: number;
  sha256: string;
}

/** The header of a snapshot. */
export async function describeSnapshot(snapshot: Snapshot, node: string, time: Date): Promise<BackupHeader> {
  const { revision, objects, image } = snapshot;
  const sha256 = await imageDigest(image);
  return { format: FORMAT, node, time: time.toISOString(), revision, objects, bytes: image.length, sha256 };
}

/** A checked backup. */
export interface Backup {
  header: BackupHeader;
  objects: ObjectRow[];
}

function readHeader(data: Buffer): { header: BackupHeader; bodyAt: number } {
  const end = data.subarray(0, MAX_HEADER_BYTES).indexOf('\n');
  let header: Partial<BackupHeader> | undefined;
  try {
    header = JSON.parse(data.subarray(0, Math.max(end, 0)).toString()) as Partial<BackupHeader>;
  } catch {
    // reported below, like any other first line that is not a backup's
  }
  if (header?.format !== FORMAT || typeof header.sha256 !== 'string')
    throw badBackup(`its first line is not that of an ${FORMAT} file`);
  return { header: header as BackupHeader, bodyAt: end + 1 };
}

/** Reads a whole backup; throws EDGE_ERR_STORE_BACKUP that says what is wrong with it. */
export async function readBackup(data: Buffer): Promise<Backup> {
  const { header, bodyAt } = readHeader(data);
  const body = data.subarray(bodyAt);
  if (body.length !== header.bytes) throw badBackup(`it holds ${body.length} of ${header.bytes} bytes`);
  if ((await imageDigest(body)) !== header.sha256) throw badBackup('its checksum does not fit its content');
  let image: SqliteImage;
  try {
    image = await SqliteImage.open(body);
  } catch {
    throw badBackup('it holds no SQLite database');
  }
  try {
    const [problem] = imageProblems(image);
    if (problem !== undefined) throw badBackup(problem);
    return { header, objects: image.objects() };
  } finally {
    image.close();
  }
}
