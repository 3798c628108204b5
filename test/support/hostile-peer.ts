/** Peers that do not keep to the protocol: raw connections, frames of any content, and the honest user beside them. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { authKey } from '../../src/tunnel/frp/auth.ts';
import { message } from '../../src/tunnel/frp/message.ts';
import { encodeV1 } from '../../src/tunnel/frp/v1.ts';
import { encodeHeader } from '../../src/tunnel/yamux/frame.ts';
import type { Cleanup } from './frp-pair.ts';
import { PATIENCE_MS, waitFor } from './wait.ts';

/** A connection of bytes, and whether the other side has ended it. */
export interface RawPeer {
  socket: Socket;
  readonly isOver: boolean;
  /** Writes, as long as there is somebody to write to. */
  send: (bytes: Buffer) => void;
}

/** Connects to a port of loopback; `isDeaf` never reads. */
export async function dialRaw(t: Cleanup, port: number, isDeaf = false): Promise<RawPeer> {
  const socket = connect({ port, host: '127.0.0.1' });
  let isOver = false;
  socket.on('error', () => {}); // a reset is what these peers ask for
  socket.on('close', () => {
    isOver = true;
  });
  if (!isDeaf) socket.on('data', () => {});
  t.after(() => {
    socket.destroy();
  });
  await waitFor(() => socket.readyState === 'open' || isOver, { what: 'a connection' });
  return {
    socket,
    get isOver() {
      return isOver;
    },
    send: (bytes) => {
      if (!isOver && socket.writable) socket.write(bytes);
    },
  };
}

/** A mux frame; the length is that of the body unless one is given. */
export function frame(type: number, flags: number, id: number, body: Buffer | number = 0): Buffer {
  if (typeof body === 'number') return encodeHeader(type, flags, id, body);
  return Buffer.concat([encodeHeader(type, flags, id, body.length), body]);
}

/** The bytes of a login in wire protocol v1. */
export function loginBytes(token: string, runId = ''): Buffer {
  const timestamp = Math.floor(Date.now() / 1000);
  return encodeV1(
    message('Login', {
      version: '0.70.1',
      timestamp,
      privilege_key: authKey(token, timestamp),
      run_id: runId,
    }),
  );
}

/** Resident memory of a process, MiB. */
export function residentMiB(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/mu.exec(status)?.[1] ?? NaN) / 1024;
}

/** What a user of an echo service saw. */
export interface HonestReport {
  exchanges: number;
  failures: string[];
  /** The longest exchange, milliseconds. */
  slowestMs: number;
}

/** Asks an echo service again and again, one new connection each, until stop(). */
export function startHonestUser(t: Cleanup, port: number): { stop(): Promise<HonestReport> } {
  const report: HonestReport = { exchanges: 0, failures: [], slowestMs: 0 };
  let isStopped = false;
  const run = async (): Promise<void> => {
    while (!isStopped) {
      const begin = performance.now();
      const failure = await echo(port, `n ${report.exchanges}`);
      report.slowestMs = Math.max(report.slowestMs, performance.now() - begin);
      report.exchanges += 1;
      if (failure !== undefined) report.failures.push(failure);
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
  };
  const done = run();
  t.after(() => {
    isStopped = true;
  });
  return {
    async stop() {
      isStopped = true;
      await done;
      return report;
    },
  };
}

/** Sends a text and waits for it to come back; why it did not, else undefined. */
export function echo(port: number, text: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let got = '';
    const late = setTimeout(() => end(`no answer within ${PATIENCE_MS} ms`), PATIENCE_MS);
    const end = (failure: string | undefined): void => {
      clearTimeout(late);
      socket.destroy();
      resolve(failure);
    };
    socket.on('error', (err) => end(err.message));
    socket.on('close', () => end(`closed after "${got}"`));
    socket.on('data', (chunk: Buffer) => {
      got += chunk.toString();
      if (got === text) end(undefined);
    });
    socket.write(text);
  });
}
