/** SQLite as WebAssembly, compiled once: the threads of a process share the code, and what has been optimized of it. */
// by path, because test bundles leave package imports alone and Node cannot require WebAssembly
import wasm from '../../../node_modules/sql.js/dist/sql-wasm.wasm';

let compiled: Promise<WebAssembly.Module> | undefined;

/** The compiled program; a worker thread has it from the thread that started it. */
export function sqliteProgram(): Promise<WebAssembly.Module> {
  compiled ??= wasm instanceof WebAssembly.Module ? Promise.resolve(wasm) : WebAssembly.compile(wasm);
  return compiled;
}
