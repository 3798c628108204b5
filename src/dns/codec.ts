/** The one wrapper of dns-packet: the record data of answers that are built once and kept. */
import { encode } from 'dns-packet';
import type { Answer } from 'dns-packet';

/** Record data by type, in words. */
export type RecordData =
  | {
      type: 'SOA';
      data: {
        mname: string;
        rname: string;
        serial: number;
        refresh: number;
        retry: number;
        expire: number;
        minimum: number;
      };
    }
  | { type: 'SRV'; data: { priority: number; weight: number; port: number; target: string } }
  | { type: 'HINFO'; data: { cpu: string; os: string } }
  | { type: 'A' | 'AAAA' | 'PTR' | 'TXT'; data: string };

// A message of one record owned by the root: header 12, name 1, type 2, class 2, TTL 4.
const DATA_OFFSET = 12 + 1 + 8;

/** RDLENGTH and RDATA (RFC 1035 3.2.1) of a record; names in it are not compressed. */
export function encodeRecordData(record: RecordData): Buffer {
  const answer = { ...record, name: '.', ttl: 0, class: 'IN' } as Answer;
  return encode({ type: 'response', answers: [answer] }).subarray(DATA_OFFSET);
}
