/** Plays a recording in a terminal: pause, speed, any position; long silences are cut short. */
import type { Terminal } from '@xterm/xterm';
import { castSize } from '../../../../lib/asciicast.ts';
import type { Cast, CastEvent } from '../../../../lib/asciicast.ts';

/** A silence longer than this is not waited for, seconds. */
const MAX_SILENCE = 2;
/** Events of one turn; more are left for the next frame, so that the page stays alive. */
const MAX_EVENTS = 2000;

/** A recording under way. */
export class Player {
  readonly #terminal: Terminal;
  readonly #cast: Cast;
  readonly #events: CastEvent[];
  readonly #onChange: () => void;
  #next = 0;
  #time = 0;
  #speed = 1;
  #frame: number | undefined;
  #lastFrameMs = 0;

  constructor(terminal: Terminal, cast: Cast, onChange: () => void) {
    this.#terminal = terminal;
    this.#cast = cast;
    this.#events = cutSilences(cast.events);
    this.#onChange = onChange;
    this.#rewind();
  }

  get duration(): number {
    return this.#events.at(-1)?.time ?? 0;
  }

  get time(): number {
    return this.#time;
  }

  get isPlaying(): boolean {
    return this.#frame !== undefined;
  }

  set speed(speed: number) {
    this.#speed = speed;
  }

  play(): void {
    if (this.isPlaying) return;
    if (this.#next >= this.#events.length) this.#rewind();
    this.#lastFrameMs = performance.now();
    this.#frame = requestAnimationFrame((nowMs) => this.#turn(nowMs));
    this.#onChange();
  }

  pause(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
    this.#onChange();
  }

  /** Goes to a position, seconds; back means from the beginning. */
  seek(time: number): void {
    if (time < this.#time) this.#rewind();
    this.#time = time;
    this.#show(Number.POSITIVE_INFINITY);
    this.#onChange();
  }

  #rewind(): void {
    const { width, height } = this.#cast.header;
    this.#terminal.reset();
    this.#terminal.resize(width, height);
    this.#next = 0;
    this.#time = 0;
  }

  #turn(nowMs: number): void {
    const passed = Math.max(0, nowMs - this.#lastFrameMs) / 1000;
    this.#lastFrameMs = nowMs;
    this.#time = Math.min(this.#time + passed * this.#speed, this.duration);
    this.#show(MAX_EVENTS);
    if (this.#next >= this.#events.length) this.#frame = undefined;
    else this.#frame = requestAnimationFrame((next) => this.#turn(next));
    this.#onChange();
  }

  #show(limit: number): void {
    for (let count = 0; count < limit; count++) {
      const event = this.#events[this.#next];
      if (event === undefined || event.time > this.#time) return;
      this.#next++;
      if (event.code === 'o') this.#terminal.write(event.data);
      const size = event.code === 'r' ? castSize(event.data) : undefined;
      if (size !== undefined) this.#terminal.resize(size.cols, size.rows);
    }
  }
}

function cutSilences(events: readonly CastEvent[]): CastEvent[] {
  let last = 0;
  let time = 0;
  return events.map((event) => {
    time += Math.min(event.time - last, MAX_SILENCE);
    last = event.time;
    return { ...event, time };
  });
}
