/** Files that esbuild turns into values: SQL as text, WebAssembly as a function that reads it. */
declare module '*.sql' {
  const text: string;
  export { text as default };
}

declare module '*.wasm' {
  /** Reads the file, anew each time: its memory is the caller's. */
  export function load(): Buffer<ArrayBuffer>;
}
