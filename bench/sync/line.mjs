// A line between a syncer and an API server (plain HTTP) that can be slow to tell news, or cut.
import { connect, createServer } from 'node:net';

/**
 * Passes connections on to a port of loopback. What a watch tells arrives `delayMs` later, in order, while questions are
 * answered at once: a server that is slow to tell is not one that is away. A cut line swallows everything and closes
 * nothing, as a cable that is pulled does.
 */
export class Line {
  bytes = 0;
  #delayMs = 0;
  #isCut = false;
  #pairs = new Set();
  #server;

  async start(targetPort) {
    this.#server = createServer({ pauseOnConnect: true }, (near) => this.#accept(near, targetPort));
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.port = this.#server.address().port;
    return this;
  }

  /** How late news is. Back at 0 everything that is on its way arrives at once. */
  set delayMs(value) {
    this.#delayMs = value;
    if (value === 0) for (const { flush } of this.#pairs) flush();
  }

  cut() {
    this.#isCut = true;
    for (const { near, far } of this.#pairs) [near, far].forEach((socket) => socket.pause());
  }

  heal() {
    this.#isCut = false;
    for (const { near, far } of this.#pairs) [near, far].forEach((socket) => socket.resume());
  }

  stop() {
    this.#server?.close();
    for (const { near, far } of this.#pairs) [near, far].forEach((socket) => socket.destroy());
  }

  #accept(near, targetPort) {
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    let waiting = [];
    const flush = () => {
      for (const { chunk, timer } of waiting) {
        clearTimeout(timer);
        near.write(chunk);
      }
      waiting = [];
    };
    const pair = { near, far, flush };
    this.#pairs.add(pair);
    let isWatch = false;
    near.setNoDelay(true);
    near.on('data', (chunk) => {
      if (chunk.includes('watch=true')) isWatch = true; // a watch has a connection of its own
      far.write(chunk);
    });
    far.on('data', (chunk) => {
      this.bytes += chunk.length;
      if (!isWatch || this.#delayMs === 0) near.write(chunk);
      else {
        // all wait equally long, so they arrive in order
        const timer = setTimeout(() => near.write(waiting.shift().chunk), this.#delayMs);
        waiting.push({ chunk, timer });
      }
    });
    for (const socket of [near, far]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        for (const { timer } of waiting) clearTimeout(timer);
        near.destroy();
        far.destroy();
        this.#pairs.delete(pair);
      });
    }
    if (!this.#isCut) near.resume();
    else far.pause();
  }
}
