/** Hono's router of paths with a memory: clients ask for the same few paths again and again. */
import type { Result, Router } from 'hono/router';
import { TrieRouter } from 'hono/router/trie-router';

/** What is remembered: paths that are usual in length, and so many of them that nodes and their Routers fit. */
const MAX_PATHS = 1000;
const MAX_PATH_LENGTH = 256;

/** Routes as TrieRouter does, which takes every form of path; what it found is kept, the oldest goes first. */
export class CachedRouter<T> implements Router<T> {
  readonly name = 'CachedRouter';
  readonly #router = new TrieRouter<T>();
  readonly #found = new Map<string, Result<T>>();

  add(method: string, path: string, handler: T): void {
    this.#found.clear();
    this.#router.add(method, path, handler);
  }

  match(method: string, path: string): Result<T> {
    const key = `${method} ${path}`;
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    const result = this.#router.match(method, path);
    if (path.length > MAX_PATH_LENGTH) return result;
    if (this.#found.size >= MAX_PATHS) {
      const oldest = this.#found.keys().next().value;
      if (oldest !== undefined) this.#found.delete(oldest);
    }
    this.#found.set(key, result);
    return result;
  }
}
